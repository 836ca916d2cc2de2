#include "sim/disk.h"

#include "sim/delay.h"
#include "sim/disk_operation.h"

namespace corelet::sim {

MediaEntry::~MediaEntry() {
    CORELET_ASSERT(in_flight.empty(), "an operation keeps its entry");
}

Media::Media(Engine& shared_engine, u32 node, DiskModel disk_model)
    : model(disk_model), engine(shared_engine), prng(shared_engine.prng.fork("disk", node)), node_(node) {}

MediaFile* Media::find(std::string_view path) {
    auto const found = entry(path);
    return found ? &found->file : nullptr;
}

std::shared_ptr<MediaEntry> Media::entry(std::string_view path) const {
    auto const found = entries_.find(path);
    return found == entries_.end() ? nullptr : found->second;
}

std::vector<std::string> Media::paths() const {
    std::vector<std::string> out;
    for (auto const& [path, entry] : entries_) out.push_back(path);
    return out;
}

std::shared_ptr<MediaEntry> Media::make_entry(const std::string& path, u64 size_bytes) {
    Prng const own = engine.prng.fork("file", node_).fork(path, files_made_++);
    auto made = std::make_shared<MediaEntry>(path, engine, own, round_up(size_bytes, k_block_bytes));
    entries_[path] = made;
    return made;
}

MediaFile& Media::add_device(std::string path, u64 size_bytes, bool garbage) {
    CORELET_ASSERT(!entries_.contains(path));
    auto const made = make_entry(path, size_bytes);
    if (garbage) made->file.fill_with_garbage(prng.next());
    return made->file;
}

void Media::erase(std::string_view path) {
    auto const found = entries_.find(path);
    if (found != entries_.end()) entries_.erase(found);
}

void Media::move_to(Media& other, std::string_view path, std::string new_path) {
    auto const found = entries_.find(path);
    CORELET_ASSERT(found != entries_.end() && !other.entries_.contains(new_path));
    found->second->path = new_path;
    found->second->locked_until = {};
    other.entries_[std::move(new_path)] = found->second;
    entries_.erase(found);
}

void Media::share_with(Media& other, std::string_view path) {
    auto const shared = entry(path);
    CORELET_ASSERT(shared && !other.entries_.contains(path));
    other.entries_[std::string(path)] = shared;
}

u64 Media::host_free() const {
    u64 used = used_by_others_;
    for (auto const& [path, entry] : entries_) used += entry->file.size_bytes();
    return used >= model.host_bytes ? 0 : model.host_bytes - used;
}

Result<std::shared_ptr<MediaEntry>> Media::create(const std::string& path, u64 size_bytes) {
    if (entries_.contains(path)) return fail(Code::kExists, path + " exists");
    if (size_bytes > host_free()) return fail(Code::kNoSpace, "no room for " + path + " on its file system");
    return make_entry(path, size_bytes);
}

Duration Media::draw_latency(Duration minimum, Duration spread) {
    u64 const drawn = prng.next();
    i64 ns = minimum.ns;
    ns += static_cast<i64>((static_cast<u128>(drawn & UINT32_MAX) * static_cast<u64>(spread.ns)) >> 32);
    if (((drawn >> 32) * 1'000'000) >> 32 < model.tail_per_million && model.tail.ns > 0) {
        ns += static_cast<i64>(prng.below(static_cast<u64>(model.tail.ns)));
    }
    return Duration{ns};
}

void Media::end_process(Ending ending) {
    for (auto& [path, entry] : entries_) {
        entry->locked_until = {};
        while (!entry->in_flight.empty()) {
            DiskOperation& operation = entry->in_flight.front();
            if (ending == Ending::kKill)
                entry->locked_until =
                    std::clamp(operation.when(), entry->locked_until, engine.queue.now() + model.lock_lingers);
            delete &operation;
        }
        entry->opened = 0;
        if (ending == Ending::kPower) {
            entry->file.lose_power();
        } else {
            entry->file.lose_process();
        }
    }
}

namespace {

using Kind = DiskOperation::Kind;

Task<Result<Buffer>> operate(Media* media, std::shared_ptr<Process> process, std::shared_ptr<MediaEntry> entry,
                             DiskOperation::Request request) {
    process->check_may_act();
    CORELET_ASSERT(request.offset % k_block_bytes == 0 && request.size % k_block_bytes == 0,
                   "disk operations are in units of 4 KiB");
    u64 const end = entry->file.size_bytes();
    if (request.offset > end || request.size > end - request.offset)
        co_return fail(Code::kInvalid, "beyond the end of " + entry->path);
    DiskOperation::Awaiter awaiter(*media, std::move(entry), std::move(request));
    co_return co_await awaiter;
}

Task<Result<void>> operate_silently(Task<Result<Buffer>> operation) {
    auto const result = co_await std::move(operation);
    if (!result) co_return std::unexpected(result.error());
    co_return Result<void>();
}

class SimFile final : public File {
  public:
    SimFile(Media& media, std::shared_ptr<Process> process, std::shared_ptr<MediaEntry> entry, bool read_only)
        : media_(media), process_(std::move(process)), entry_(std::move(entry)), read_only_(read_only) {
        ++entry_->opened;
    }
    ~SimFile() override {
        if (!process_->ended) --entry_->opened;
    }
    Task<Result<Buffer>> read(u64 offset, usize size) override {
        return operate(&media_, process_, entry_, {Kind::kRead, offset, size, {}});
    }
    Task<Result<void>> write(u64 offset, BufferChain data, Durability durability) override {
        u64 const size = data.size();
        if (read_only_) return refuse();
        Kind const kind = durability == Durability::kDurable ? Kind::kDurableWrite : Kind::kWrite;
        return operate_silently(operate(&media_, process_, entry_, {kind, offset, size, std::move(data)}));
    }
    Task<Result<void>> flush() override {
        return operate_silently(operate(&media_, process_, entry_, {Kind::kFlush, 0, 0, {}}));
    }
    Task<Result<void>> discard(u64 offset, u64 size) override {
        if (read_only_) return refuse();
        return operate_silently(operate(&media_, process_, entry_, {Kind::kDiscard, offset, size, {}}));
    }
    u64 size_bytes() const override { return entry_->file.size_bytes(); }

  private:
    static Task<Result<void>> refuse() { co_return fail(Code::kDenied, "the file is open for reading only"); }
    Media& media_;
    std::shared_ptr<Process> process_;
    std::shared_ptr<MediaEntry> entry_;
    bool read_only_;
};

Task<Result<std::unique_ptr<File>>> open_file(Media* media, std::shared_ptr<Process> process, std::string path,
                                              OpenOptions options) {
    process->check_may_act();
    co_await Delay(media->engine, media->draw_latency(media->model.read_min, media->model.read_spread));
    auto entry = media->entry(path);
    if (options.create) {
        auto made = media->create(path, options.size_bytes);
        if (!made) co_return std::unexpected(std::move(made).error());
        entry = *std::move(made);
    }
    if (!entry) co_return fail(Code::kNotFound, path + " does not exist");
    bool const held = entry->opened != 0 || media->engine.queue.now() < entry->locked_until;
    if (held && media->model.locks) co_return fail(Code::kConflict, path + " is in use");
    // What a former handle left in the kernel's hands comes first: its lock goes with its last operation.
    while (!entry->in_flight.empty() && media->model.locks) {
        co_await Delay(media->engine, media->model.write_min);
        if (entry->opened != 0) co_return fail(Code::kConflict, path + " is in use");
    }
    if (entry->file.faults.dead) co_return std::unexpected(Error{Code::kIo, true, 0, path + " does not answer"});
    co_return std::make_unique<SimFile>(*media, std::move(process), std::move(entry), options.read_only);
}

Task<Result<void>> remove_file(Media* media, std::shared_ptr<Process> process, std::string path) {
    process->check_may_act();
    co_await Delay(media->engine, media->draw_latency(media->model.write_min, media->model.write_spread));
    if (!media->entry(path)) co_return fail(Code::kNotFound, path + " does not exist");
    media->erase(path);
    co_return Result<void>();
}

Task<Result<bool>> file_exists(Media* media, std::string path) {
    co_await Delay(media->engine, media->draw_latency(media->model.read_min, media->model.read_spread));
    co_return media->entry(path) != nullptr;
}

}  // namespace

Task<Result<std::unique_ptr<File>>> SimDisk::open(std::string path, OpenOptions options) {
    return open_file(&media_, process_, std::move(path), options);
}
Task<Result<void>> SimDisk::remove(std::string path) {
    return remove_file(&media_, process_, std::move(path));
}
Task<Result<bool>> SimDisk::exists(std::string path) {
    return file_exists(&media_, std::move(path));
}

}  // namespace corelet::sim
