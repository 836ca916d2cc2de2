#include "device/device_testing.h"

#include "base/checksum.h"
#include "base/hash.h"

namespace corelet::testing {

namespace {
struct Forever {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept {}
};
}  // namespace

class FakeFile final : public File {
  public:
    FakeFile(FakeMedia& media, u64 generation) : media_(media), generation_(generation) {}

    Task<Result<Buffer>> read(u64 offset, usize size) override {
        check(offset, size);
        co_await wait();
        while (is_in(offset, media_.held_reads_)) co_await media_.released_->wait();
        if (offset + size > media_.size_bytes_) co_return fail(Code::kInvalid, "beyond the end");
        Buffer out = Buffer::allocate(size);
        for (u64 at = 0; at < size; at += k_block_bytes) {
            u64 const page = (offset + at) / k_block_bytes;
            if (media_.unreadable_.contains(page)) co_return fail(Code::kIo, "latent error");
            FakeMedia::Page const bytes = media_.view(page);
            std::memcpy(out.mutable_data() + at, bytes.data(), k_block_bytes);
        }
        co_return out;
    }

    Task<Result<void>> write(u64 offset, BufferChain data, Durability durability) override {
        check(offset, data.size());
        if (offset + data.size() > media_.size_bytes_) co_return fail(Code::kInvalid, "beyond the end");
        if (media_.failed_) ++media_.writes_after_failure_;
        u64 const write = media_.writes_++;
        bool const stops = write >= media_.stop_at_;
        bool const lost = media_.lose_writes_;
        Buffer const flat = data.flatten();
        for (u64 at = 0; at < flat.size() && !media_.stopped_ && !lost; at += k_block_bytes) {
            FakeMedia::Version version;
            version.write = write;
            std::memcpy(version.bytes.data(), flat.data() + at, k_block_bytes);
            media_.pending_[(offset + at) / k_block_bytes].push_back(version);
        }
        if (stops) media_.stopped_ = true;
        co_await wait();
        while (is_in(offset, media_.held_writes_)) co_await media_.released_->wait();
        if (media_.spare_writes_ > 0) {
            --media_.spare_writes_;
        } else if (media_.fail_writes_ > 0) {
            if (media_.fail_writes_ != UINT32_MAX) --media_.fail_writes_;
            media_.failed_ = true;
            co_return fail(Code::kIo, "injected");
        }
        for (u64 at = 0; at < flat.size() && !lost; at += k_block_bytes) {
            u64 const page = (offset + at) / k_block_bytes;
            media_.unreadable_.erase(page);
            for (auto& version : media_.pending_[page])
                if (version.write == write) version.completed = true;
            if (durability == Durability::kDurable) media_.settle(page, write);
        }
        co_return Result<void>{};
    }

    Task<Result<void>> flush() override {
        std::vector<std::pair<u64, u64>> done;  // page, write
        for (const auto& [page, versions] : media_.pending_)
            for (const auto& version : versions)
                if (version.completed) done.emplace_back(page, version.write);
        co_await wait();
        if (media_.fail_flushes_ > 0) {
            --media_.fail_flushes_;
            media_.failed_ = true;
            co_return fail(Code::kIo, "injected");
        }
        for (const auto& [page, write] : done) media_.settle(page, write);
        co_return Result<void>{};
    }

    Task<Result<void>> discard(u64, u64) override { co_return Result<void>{}; }
    [[nodiscard]] u64 size_bytes() const override { return media_.size_bytes_; }

  private:
    static bool is_in(u64 offset, std::pair<u64, u64> range) {
        return offset >= range.first && offset < range.second;
    }
    static void check(u64 offset, u64 size) {
        CORELET_ASSERT(offset % k_block_bytes == 0 && size % k_block_bytes == 0 && size > 0);
    }
    // Some rounds of the executor; for ever once the media has stopped or crashed.
    Task<void> wait() {
        for (u32 rounds = media_.draw_rounds(); rounds > 0; --rounds) co_await yield();
        if (media_.stopped_ || generation_ != media_.generation_) co_await Forever{};
    }
    FakeMedia& media_;
    u64 generation_;
};

std::unique_ptr<File> FakeMedia::open() {
    return std::make_unique<FakeFile>(*this, generation_);
}

FakeMedia::Page FakeMedia::view(u64 page) const {
    if (auto const at = pending_.find(page); at != pending_.end() && !at->second.empty())
        return at->second.back().bytes;
    auto const at = durable_.find(page);
    return at == durable_.end() ? Page{} : at->second;
}

// Write `upto` of the page is durable: what came before it is gone.
void FakeMedia::settle(u64 page, u64 upto) {
    auto const at = pending_.find(page);
    if (at == pending_.end()) return;
    auto& versions = at->second;
    auto const newest = std::ranges::find(versions, upto, &Version::write);
    if (newest == versions.end()) return;
    durable_[page] = newest->bytes;
    versions.erase(versions.begin(), newest + 1);
    if (versions.empty()) pending_.erase(at);
}

void FakeMedia::crash(Prng& random) {
    // Of each write nothing, all, or some: drawn once for the write, so that large ones are lost as a whole too.
    std::map<u64, u64> fates;
    for (auto& [page, versions] : pending_) {
        for (const Version& version : versions) {
            auto const [fate, fresh] = fates.try_emplace(version.write, 0);
            if (fresh) fate->second = random.below(4);
            if (fate->second == 0) continue;
            Page& bytes = durable_[page];
            bool const by_page = fate->second == 2 && random.chance(1, 2);
            for (u64 sector = 0; sector < k_block_bytes; sector += 512)
                if (fate->second == 1 || by_page || (fate->second == 3 && random.chance(1, 2)))
                    std::memcpy(bytes.data() + sector, version.bytes.data() + sector, 512);
        }
    }
    pending_.clear();
    stopped_ = false;
    failed_ = false;
    never_stop();
    ++generation_;
}

void FakeMedia::kill() {
    for (const auto& [page, versions] : pending_) durable_[page] = versions.back().bytes;
    pending_.clear();
    stopped_ = false;
    never_stop();
    ++generation_;
}

void FakeMedia::kill_unflushed() {
    for (auto& [page, versions] : pending_)
        for (Version& version : versions) version.completed = true;
    stopped_ = false;
    never_stop();
    ++generation_;
}

void FakeMedia::flip_bit(u64 offset, u32 bit) {
    durable_[offset / k_block_bytes][offset % k_block_bytes] ^= static_cast<u8>(1U << bit);
}
void FakeMedia::fill(u64 offset, u64 size, u8 value) {
    for (u64 at = offset; at < offset + size; ++at) durable_[at / k_block_bytes][at % k_block_bytes] = value;
}
void FakeMedia::copy_block(u64 from, u64 to) {
    durable_[to / k_block_bytes] = view(from / k_block_bytes);
}

std::vector<u8> FakeMedia::bytes(u64 offset, u64 size) const {
    std::vector<u8> out;
    for (u64 at = offset; at < offset + size; ++at) {
        auto const page = durable_.find(at / k_block_bytes);
        out.push_back(page == durable_.end() ? u8{0} : page->second[at % k_block_bytes]);
    }
    return out;
}

void FakeMedia::restore(Image image) {
    durable_ = std::move(image);
    pending_.clear();
    ++generation_;
}

std::vector<u64> FakeMedia::used_blocks() const {
    std::vector<u64> out;
    for (const auto& [page, bytes] : durable_)
        if (!is_all_zero({bytes.data(), bytes.size()})) out.push_back(page);
    return out;
}

Buffer pattern(u64 seed, u64 blocks) {
    Buffer out = Buffer::allocate(blocks * k_block_bytes);
    for (u64 at = 0; at < out.size(); at += 8) {
        u64 const word = hash64(seed, at);
        std::memcpy(out.mutable_data() + at, &word, 8);
    }
    return out;
}

std::vector<u32> crcs_of(const BufferChain& data) {
    Buffer const flat = data.flatten();
    std::vector<u32> crcs;
    for (u64 at = 0; at < flat.size(); at += k_block_bytes)
        crcs.push_back(crc32c(flat.bytes().subspan(at, k_block_bytes)));
    return crcs;
}

}  // namespace corelet::testing
