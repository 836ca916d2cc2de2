#include "lossy_disk.h"

#include <cstring>

namespace corelet::echo {

namespace {

using Memory = LossyDisk::Memory;

Task<Result<void>> write_through(File* file, std::map<u64, Buffer> pages) {
    for (auto const& [offset, page] : pages) CO_TRY_VOID(co_await file->write(offset, page, Durability::kDurable));
    co_return Result<void>();
}

// Of each unsynced page some sectors are new, the others as they were.
Task<Result<void>> settle(File* file, Memory* memory, std::map<u64, Buffer> pages) {
    constexpr usize k_sector = 512;
    for (auto const& [offset, page] : pages) {
        CO_TRY(Buffer torn, co_await file->read(offset, k_block_bytes));
        u64 const survivors = memory->random.chance(1, 3) ? 0 : memory->random.below(256);
        for (usize sector = 0; sector < k_block_bytes / k_sector; ++sector) {
            if (((survivors >> sector) & 1) == 0) continue;
            std::memcpy(torn.mutable_data() + sector * k_sector, page.data() + sector * k_sector, k_sector);
        }
        CO_TRY_VOID(co_await file->write(offset, torn, Durability::kDurable));
    }
    co_return Result<void>();
}

class LossyFile final : public File {
  public:
    LossyFile(std::unique_ptr<File> beneath, std::shared_ptr<Memory> memory, std::string path)
        : beneath_(std::move(beneath)), memory_(std::move(memory)), path_(std::move(path)) {}
    Task<Result<Buffer>> read(u64 offset, usize size) override {
        CO_TRY(Buffer out, co_await beneath_->read(offset, size));
        for (auto const& [at, page] : memory_->unsynced[path_]) {
            if (at >= offset && at < offset + size)
                std::memcpy(out.mutable_data() + (at - offset), page.data(), k_block_bytes);
        }
        co_return out;
    }
    Task<Result<void>> write(u64 offset, BufferChain data, Durability durability) override {
        if (durability == Durability::kDurable)
            co_return co_await beneath_->write(offset, std::move(data), durability);
        Buffer const flat = data.flatten();
        for (usize at = 0; at < flat.size(); at += k_block_bytes) {
            memory_->unsynced[path_].insert_or_assign(offset + at, Buffer::copy_of(flat.slice(at, k_block_bytes)));
        }
        co_return Result<void>();
    }
    Task<Result<void>> flush() override {
        // Nothing is forgotten before it is durable: a crash in here loses what was not reached.
        CO_TRY_VOID(co_await write_through(beneath_.get(), memory_->unsynced[path_]));
        memory_->unsynced.erase(path_);
        co_return Result<void>();
    }
    Task<Result<void>> discard(u64 offset, u64 size) override { return beneath_->discard(offset, size); }
    u64 size_bytes() const override { return beneath_->size_bytes(); }

  private:
    std::unique_ptr<File> beneath_;
    std::shared_ptr<Memory> memory_;
    std::string path_;
};

}  // namespace

Task<Result<std::unique_ptr<File>>> LossyDisk::open(std::string path, OpenOptions options) {
    CO_TRY(auto file, co_await beneath_.open(path, options));
    if (memory_->crashed) {
        CO_TRY_VOID(co_await settle(file.get(), memory_.get(), memory_->unsynced[path]));
        memory_->unsynced.erase(path);
        memory_->crashed = false;
    }
    co_return std::make_unique<LossyFile>(std::move(file), memory_, std::move(path));
}
Task<Result<void>> LossyDisk::remove(std::string path) {
    return beneath_.remove(std::move(path));
}
Task<Result<bool>> LossyDisk::exists(std::string path) {
    return beneath_.exists(std::move(path));
}

}  // namespace corelet::echo
