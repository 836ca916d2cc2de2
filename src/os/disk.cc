#include "os/disk.h"

#include <climits>

#include "os/errors.h"
#include "os/open_file.h"
#include "os/spawn.h"

namespace corelet::os {

namespace {

using Kind = DiskOperation::Kind;

bool is_block_aligned(const BufferChain& data) {
    return std::ranges::all_of(data.parts(), [](const Buffer& part) {
        return part.is_aligned(k_block_bytes) && part.size() % k_block_bytes == 0;
    });
}

// One aligned buffer with the chain's bytes; never the chain's own memory.
Buffer gather(const BufferChain& data) {
    Buffer out = Buffer::allocate(data.size());
    usize at = 0;
    for (const Buffer& part : data.parts()) {
        std::memcpy(out.mutable_data() + at, part.data(), part.size());
        at += part.size();
    }
    return out;
}

void add_vectors(DiskOperation& operation, usize skip) {
    for (const Buffer& part : operation.buffers.parts()) {
        if (skip >= part.size()) {
            skip -= part.size();
            continue;
        }
        auto* const at = const_cast<u8*>(part.data()) + skip;
        usize const size = part.size() - skip;
        skip = 0;
        bool const joins =
            !operation.vectors.empty() &&
            static_cast<u8*>(operation.vectors.back().iov_base) + operation.vectors.back().iov_len == at;
        if (joins) {
            operation.vectors.back().iov_len += size;
        } else {
            operation.vectors.push_back({at, size});
        }
    }
}

std::shared_ptr<DiskOperation> make_operation(Kind kind, const std::shared_ptr<OpenFile>& file, u64 offset) {
    auto operation = std::make_shared<DiskOperation>();
    operation->kind = kind;
    operation->fd = file->descriptor.get();
    operation->file = file;
    operation->offset = offset;
    return operation;
}

std::string describe(std::string_view doing, const OpenFile& file, u64 offset, u64 size) {
    return std::string(doing) + " " + std::to_string(size) + " bytes at " + std::to_string(offset) + " of '" +
           file.path + "'";
}

bool fits(const OpenFile& file, u64 offset, u64 size) {
    CORELET_ASSERT(offset % k_block_bytes == 0 && size % k_block_bytes == 0, "disk access is in whole blocks");
    return offset <= file.size_bytes && size <= file.size_bytes - offset;
}

// Moves all bytes of `buffers` between memory and [offset, ...), as often as the kernel stops short.
Task<Result<void>> transfer(Reactor* reactor, std::shared_ptr<OpenFile> file, Kind kind, u64 offset,
                            BufferChain buffers, bool durable) {
    std::string_view const doing = kind == Kind::kRead ? "reading" : "writing";
    usize done = 0;
    while (done < buffers.size()) {
        auto operation = make_operation(kind, file, offset + done);
        operation->buffers = buffers;
        operation->durable = durable;
        add_vectors(*operation, done);
        reactor->start(operation);
        co_await operation->wait();
        if (operation->result == -EINTR || operation->result == -EAGAIN) continue;
        if (operation->result < 0) {
            std::string const what = describe(doing, *file, offset, buffers.size());
            co_return std::unexpected(disk_error(static_cast<int>(-operation->result), what));
        }
        if (operation->result == 0)
            co_return fail(Code::kIo,
                           describe(doing, *file, offset, buffers.size()) + ": the file has become shorter");
        done += static_cast<usize>(operation->result);
    }
    co_return Result<void>{};
}

// The coroutines below own the open file: the File object itself may go while they run.
Task<Result<Buffer>> read_file(Reactor* reactor, std::shared_ptr<OpenFile> file, u64 offset, usize size) {
    if (!fits(*file, offset, size))
        co_return fail(Code::kInvalid, describe("reading", *file, offset, size) + ": beyond its end");
    Buffer target = Buffer::allocate(size);
    CO_TRY_VOID(co_await transfer(reactor, std::move(file), Kind::kRead, offset, target, false));
    co_return target;
}

Task<Result<void>> write_file(Reactor* reactor, std::shared_ptr<OpenFile> file, u64 offset, BufferChain data,
                              Durability durability) {
    if (!fits(*file, offset, data.size()))
        co_return fail(Code::kInvalid, describe("writing", *file, offset, data.size()) + ": beyond its end");
    bool const as_is = data.parts().size() <= IOV_MAX && (!file->is_direct || is_block_aligned(data));
    if (!as_is) data = gather(data);
    bool const durable = durability == Durability::kDurable;
    co_return co_await transfer(reactor, std::move(file), Kind::kWrite, offset, std::move(data), durable);
}

Task<Result<void>> flush_file(Reactor* reactor, std::shared_ptr<OpenFile> file) {
    auto operation = make_operation(Kind::kSync, file, 0);
    reactor->start(operation);
    co_await operation->wait();
    if (operation->result == 0) co_return Result<void>{};
    co_return std::unexpected(disk_error(static_cast<int>(-operation->result), "flushing '" + file->path + "'"));
}

Task<Result<void>> punch_hole(Reactor* reactor, std::shared_ptr<OpenFile> file, u64 offset, u64 size) {
    auto operation = make_operation(Kind::kPunchHole, file, offset);
    operation->size = size;
    reactor->start(operation);
    co_await operation->wait();
    // A file system without holes keeps the bytes: discarding is a hint.
    if (operation->result == 0 || operation->result == -EOPNOTSUPP) co_return Result<void>{};
    std::string const what = describe("discarding", *file, offset, size);
    co_return std::unexpected(disk_error(static_cast<int>(-operation->result), what));
}

Task<Result<void>> discard_file(Loop* loop, std::shared_ptr<OpenFile> file, u64 offset, u64 size) {
    if (!fits(*file, offset, size))
        co_return fail(Code::kInvalid, describe("discarding", *file, offset, size) + ": beyond its end");
    if (size == 0) co_return Result<void>{};
    if (!file->is_block_device) co_return co_await punch_hole(&loop->reactor(), std::move(file), offset, size);
    auto result = std::make_shared<Result<void>>();
    co_await run_on_worker(loop,
                           [result, file, offset, size] { *result = discard_on_device(*file, offset, size); });
    co_return *result;
}

class LinuxFile final : public File {
  public:
    LinuxFile(Loop& loop, std::shared_ptr<OpenFile> file, std::shared_ptr<LinuxDisk::Lingering> lingering)
        : loop_(loop), file_(std::move(file)), lingering_(std::move(lingering)) {}
    ~LinuxFile() override {
        if (file_.use_count() == 1) return;
        ++lingering_->count;
        file_->on_closed = [lingering = lingering_] {
            --lingering->count;
            ++lingering->gone_so_far;
            lingering->gone.notify_all();
        };
    }
    Task<Result<Buffer>> read(u64 offset, usize size) override {
        return read_file(&loop_.reactor(), file_, offset, size);
    }
    Task<Result<void>> write(u64 offset, BufferChain data, Durability durability) override {
        return write_file(&loop_.reactor(), file_, offset, std::move(data), durability);
    }
    Task<Result<void>> flush() override { return flush_file(&loop_.reactor(), file_); }
    Task<Result<void>> discard(u64 offset, u64 size) override { return discard_file(&loop_, file_, offset, size); }
    u64 size_bytes() const override { return file_->size_bytes; }

  private:
    Loop& loop_;
    std::shared_ptr<OpenFile> file_;
    std::shared_ptr<LinuxDisk::Lingering> lingering_;
};

template <class T, class F>
Task<Result<T>> blocking(Loop* loop, F call) {
    auto result = std::make_shared<std::optional<Result<T>>>();
    co_await run_on_worker(loop, [result, call = std::move(call)] { result->emplace(call()); });
    co_return **std::move(result);
}

}  // namespace

Task<Result<std::unique_ptr<File>>> LinuxDisk::open(std::string path, OpenOptions options) {
    for (;;) {
        u64 const gone_before = lingering_->gone_so_far;
        auto file = co_await blocking<std::shared_ptr<OpenFile>>(&loop_, [=] { return open_file(path, options); });
        if (file) co_return std::make_unique<LinuxFile>(loop_, *std::move(file), lingering_);
        if (file.error().code != Code::kConflict) co_return std::unexpected(file.error());
        if (lingering_->gone_so_far != gone_before) continue;
        if (lingering_->count == 0) co_return std::unexpected(file.error());
        co_await lingering_->gone.wait();
    }
}

Task<Result<void>> LinuxDisk::remove(std::string path) {
    return blocking<void>(&loop_, [path = std::move(path)] { return remove_file(path); });
}

Task<Result<bool>> LinuxDisk::exists(std::string path) {
    return blocking<bool>(&loop_, [path = std::move(path)] { return file_exists(path); });
}

}  // namespace corelet::os
