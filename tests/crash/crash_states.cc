#include "tests/crash/crash_states.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"

namespace corelet::testing {

namespace {
constexpr u64 k_sector = 512;
}  // namespace

// --- DeviceImage

void DeviceImage::read(u64 offset, MutableBytes out) const {
    for (u64 at = 0; at < out.size(); at += k_block_bytes) {
        auto const own = own_.find((offset + at) / k_block_bytes);
        const u8* const from = own == own_.end() ? settled_->data() + offset + at : own->second.data();
        std::memcpy(out.data() + at, from, k_block_bytes);
    }
}

void DeviceImage::write(u64 offset, Bytes bytes) {
    for (u64 at = 0; at < bytes.size(); at += k_sector) {
        u64 const page = (offset + at) / k_block_bytes;
        auto const [own, fresh] = own_.try_emplace(page);
        if (fresh) std::memcpy(own->second.data(), settled_->data() + page * k_block_bytes, k_block_bytes);
        std::memcpy(own->second.data() + (offset + at) % k_block_bytes, bytes.data() + at, k_sector);
    }
}

std::vector<u8> DeviceImage::bytes() const {
    std::vector<u8> out = *settled_;
    for (const auto& [page, bytes] : own_)
        std::memcpy(out.data() + page * k_block_bytes, bytes.data(), k_block_bytes);
    return out;
}

u64 DeviceImage::digest() const {
    u64 digest = 0;
    for (const auto& [page, bytes] : own_)
        if (!std::ranges::equal(bytes, Bytes(settled_->data() + page * k_block_bytes, k_block_bytes)))
            digest = hash64(digest, page, hash64(as_text(bytes)));
    return digest;
}

namespace {

class ImageFile final : public File {
  public:
    explicit ImageFile(DeviceImage& image) : image_(image) {}
    Task<Result<Buffer>> read(u64 offset, usize size) override {
        if (offset + size > image_.size_bytes()) co_return fail(Code::kInvalid, "beyond the end");
        Buffer out = Buffer::allocate(size);
        image_.read(offset, out.mutable_bytes());
        co_return out;
    }
    Task<Result<void>> write(u64 offset, BufferChain data, Durability) override {
        if (offset + data.size() > image_.size_bytes()) co_return fail(Code::kInvalid, "beyond the end");
        image_.write(offset, data.flatten());
        co_return Result<void>{};
    }
    Task<Result<void>> flush() override { co_return Result<void>{}; }
    Task<Result<void>> discard(u64, u64) override { co_return Result<void>{}; }
    [[nodiscard]] u64 size_bytes() const override { return image_.size_bytes(); }

  private:
    DeviceImage& image_;
};

}  // namespace

std::unique_ptr<File> open_image(DeviceImage& image) {
    return std::make_unique<ImageFile>(image);
}

const char* name_of(CrashKind kind) {
    constexpr std::array<const char*, k_crash_kinds> names{"prefix", "torn prefix", "subset", "torn subset",
                                                           "reordered"};
    return names[static_cast<usize>(kind)];
}

// --- CrashStates

CrashStates::CrashStates(const WriteLog& log, std::vector<u8> start)
    : settled_(std::move(start)), sectors_(settled_.size() / k_sector) {
    for (const LoggedWrite& write : log.writes()) {
        by_begin_.push_back(&write);
        if (write.settled != k_never) by_settling_.push_back(&write);
    }
    // Of what one flush settles at one moment the later goes last.
    std::ranges::stable_sort(by_settling_, {},
                             [](const LoggedWrite* w) { return std::pair(w->settled, w->ended); });
}

void CrashStates::advance(Moment moment) {
    CORELET_ASSERT(moment >= moment_, "crash states are made in order");
    moment_ = moment;
    for (; begun_count_ < by_begin_.size() && by_begin_[begun_count_]->begun < moment; ++begun_count_)
        pending_.push_back(by_begin_[begun_count_]);
    for (; settled_count_ < by_settling_.size() && by_settling_[settled_count_]->settled < moment; ++settled_count_)
        settle(*by_settling_[settled_count_]);
    std::erase_if(pending_, [&](const LoggedWrite* write) { return write->settled < moment; });
}

void CrashStates::settle(const LoggedWrite& write) {
    for (u64 at = 0; at < write.bytes.size(); at += k_sector) {
        Sector& sector = sectors_[(write.offset + at) / k_sector];
        if (sector.ended > write.ended) continue;
        sector = {write.begun, write.ended};
        std::memcpy(settled_.data() + write.offset + at, write.bytes.data() + at, k_sector);
    }
}

void CrashStates::put(DeviceImage& image, const LoggedWrite& write, u64 from, u64 to) const {
    for (u64 at = from; at < to; at += k_sector) {
        if (sectors_[(write.offset + at) / k_sector].begun > write.ended) continue;
        image.write(write.offset + at, write.bytes.bytes().subspan(at, k_sector));
    }
}

// In units of 512 bytes or 4 KiB: up to some unit, or any of them.
void CrashStates::tear(DeviceImage& image, const LoggedWrite& write, Prng& random, std::string& how) const {
    u64 const unit = random.chance(1, 2) ? k_sector : k_block_bytes;
    u64 const units = write.bytes.size() / unit;
    bool const any = random.chance(1, 2);
    u64 const cut = random.below(units + 1);
    how += fmt::format(" {}:{}", write.begun, any ? "some of " : fmt::format("{} of ", cut)) +
           fmt::format("{} x {}", units, unit);
    for (u64 i = 0; i < units; ++i)
        if (any ? random.chance(1, 2) : i < cut) put(image, write, i * unit, (i + 1) * unit);
}

CrashState CrashStates::prefix(usize writes) const {
    CrashState state{DeviceImage(settled_), CrashKind::kPrefix,
                     fmt::format("the first {} of {} pending writes", writes, pending_.size())};
    for (usize i = 0; i < writes; ++i) put(state.image, *pending_[i], 0, pending_[i]->bytes.size());
    return state;
}

// A random order that keeps each write behind those that had ended when it began.
std::vector<const LoggedWrite*> CrashStates::reorder(Prng& random) const {
    std::vector<const LoggedWrite*> left = pending_, out;
    while (!left.empty()) {
        Moment first_end = k_never;
        for (const LoggedWrite* write : left) first_end = std::min(first_end, write->ended);
        std::vector<usize> may;
        for (usize i = 0; i < left.size(); ++i)
            if (left[i]->begun < first_end) may.push_back(i);
        usize const next = may[random.below(may.size())];
        out.push_back(left[next]);
        left.erase(left.begin() + static_cast<std::ptrdiff_t>(next));
    }
    return out;
}

CrashState CrashStates::draw(CrashKind kind, Prng& random) const {
    usize const some = random.below(pending_.size() + 1);
    if (kind == CrashKind::kPrefix) return prefix(some);
    if (kind == CrashKind::kTornPrefix) {
        usize const whole = std::min(some, pending_.size() - std::min<usize>(pending_.size(), 1));
        CrashState state = prefix(whole);
        state.kind = kind;
        if (whole < pending_.size()) tear(state.image, *pending_[whole], random, state.how);
        return state;
    }
    CrashState state{DeviceImage(settled_), kind, "writes begun at"};
    bool const torn = kind != CrashKind::kSubset && random.chance(3, 4);
    u64 const kept = random.between(1, 9);
    for (const LoggedWrite* write : kind == CrashKind::kReordered ? reorder(random) : pending_) {
        if (!random.chance(kept, 10)) continue;
        if (torn && random.chance(1, 2)) {
            tear(state.image, *write, random, state.how);
        } else {
            put(state.image, *write, 0, write->bytes.size());
            state.how += fmt::format(" {}", write->begun);
        }
    }
    return state;
}

}  // namespace corelet::testing
