// A node's disks: the files on them, the operations in flight, how long those take. Outlives the node's processes.
#pragma once

#include "rt/disk.h"
#include "rt/executor.h"
#include "sim/media.h"
#include "sim/process.h"

namespace corelet::sim {

struct DiskModel {
    Duration read_min{60'000}, read_spread{60'000};
    Duration write_min{30'000}, write_spread{70'000};  // buffered and durable alike: no cache is trusted
    Duration flush_min{100'000}, flush_spread{900'000};
    u32 tail_per_million = 1'000;
    Duration tail{20'000'000};
    u64 bytes_per_second = 1'000'000'000;
    u64 host_bytes = u64{1} << 44;         // of the file system that the files lie on
    bool locks = true;                     // a second opening is refused
    Duration lock_lingers{1'000'000'000};  // at most, after a kill, while the kernel has requests in hand
};

class DiskOperation;

// A file or device, with what the kernel has in hand for it.
struct MediaEntry {
    MediaEntry(std::string file_path, Engine& engine, Prng random, u64 size_bytes)
        : path(std::move(file_path)), file(engine, random, size_bytes) {}
    ~MediaEntry();
    MediaEntry(const MediaEntry&) = delete;
    MediaEntry& operator=(const MediaEntry&) = delete;
    std::string path;
    MediaFile file;
    u32 opened = 0;
    VirtualTime locked_until;  // what a killed process left in the kernel's hands
    IntrusiveList<DiskOperation> in_flight;
    VirtualTime busy_until;
};

class Media {
  public:
    Media(Engine& engine, u32 node, DiskModel disk_model);

    // None if there is no such file.
    [[nodiscard]] MediaFile* find(std::string_view path);
    [[nodiscard]] std::vector<std::string> paths() const;
    // A raw device, there before the node boots; it holds zeros, or what an earlier owner left.
    MediaFile& add_device(std::string path, u64 size_bytes, bool garbage = false);
    // Gone, as if it was never there: a lost device, or an empty one in its place after the next creation.
    void erase(std::string_view path);
    // The device is pulled out and put into another node.
    void move_to(Media& other, std::string_view path, std::string new_path);
    // The same bytes on two nodes at once: an image that is mounted twice.
    void share_with(Media& other, std::string_view path);
    // Others use so much of the host's file system.
    void fill_host(u64 bytes) { used_by_others_ = bytes; }
    [[nodiscard]] u64 host_free() const;

    void end_process(Ending ending);
    // Called at each operation issued, before it has any effect.
    std::function<void()> on_issue;
    DiskModel model;
    u64 issued = 0;

    // For the parts of the simulated disk.
    [[nodiscard]] std::shared_ptr<MediaEntry> entry(std::string_view path) const;
    [[nodiscard]] Result<std::shared_ptr<MediaEntry>> create(const std::string& path, u64 size_bytes);
    [[nodiscard]] Duration draw_latency(Duration minimum, Duration spread);
    [[nodiscard]] u32 node() const { return node_; }
    Engine& engine;
    Prng prng;

  private:
    std::shared_ptr<MediaEntry> make_entry(const std::string& path, u64 size_bytes);
    u32 node_;
    std::map<std::string, std::shared_ptr<MediaEntry>, std::less<>> entries_;
    u64 files_made_ = 0;
    u64 used_by_others_ = 0;
};

// As one process sees it.
class SimDisk final : public Disk {
  public:
    SimDisk(Media& media, std::shared_ptr<Process> process) : media_(media), process_(std::move(process)) {}
    [[nodiscard]] Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
    [[nodiscard]] Task<Result<void>> remove(std::string path) override;
    [[nodiscard]] Task<Result<bool>> exists(std::string path) override;

  private:
    Media& media_;
    std::shared_ptr<Process> process_;
};

}  // namespace corelet::sim
