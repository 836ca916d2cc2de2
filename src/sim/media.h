// What lies on a node's disks, and what its kernel only holds in memory.
//
// A file is sparse pages of 4 KiB. Each page has its durable bytes, and the versions written since that are not yet
// durable, whether still in flight or completed into the page cache. Losing power keeps, for each such write, all,
// none, or any subset of its sectors of 512 B or 4 KiB, and between writes any order. Durable bytes change by
// nothing else but the faults below.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/bytes.h"
#include "base/result.h"
#include "sim/engine.h"

namespace corelet::sim {

inline constexpr usize k_sector_bytes = 512;
inline constexpr usize k_sectors = k_block_bytes / k_sector_bytes;

using PageBytes = std::array<u8, k_block_bytes>;

// Pages by index; those never written take no memory. Copies share pages until one is changed.
class PageMap {
  public:
    explicit PageMap(u64 pages) : leaves_(div_ceil(pages, k_leaf_pages)) {}
    [[nodiscard]] const PageBytes* find(u64 page) const;
    // For changing: own copy, zeros if it was never written.
    [[nodiscard]] PageBytes& edit(u64 page);
    void put(u64 page, std::shared_ptr<PageBytes> bytes);
    void clear(u64 page);
    [[nodiscard]] u64 pages_in_use() const { return in_use_; }
    [[nodiscard]] bool has_size_of(const PageMap& other) const { return leaves_.size() == other.leaves_.size(); }
    // A page that was written, drawn; none if none was.
    [[nodiscard]] std::optional<u64> random_page(Prng& random) const;

  private:
    static constexpr u64 k_leaf_pages = 256;
    using Leaf = std::array<std::shared_ptr<PageBytes>, k_leaf_pages>;
    [[nodiscard]] std::shared_ptr<PageBytes>& slot(u64 page);
    std::vector<std::shared_ptr<Leaf>> leaves_;
    u64 in_use_ = 0;
};

// One-shot faults wait in here for the next operation of their kind.
struct MediaFaults {
    u32 fail_writes = 0;
    u32 fail_syncs = 0;
    u32 misdirect_reads = 0;
    u32 misdirect_writes = 0;
    bool dead = false;         // each operation fails from now on
    bool lying_syncs = false;  // durable writes and flushes save nothing
    VirtualTime stuck_until;   // no operation completes before
    u32 slow_factor = 1;       // latencies are so many times longer, by up to two seconds
};

class MediaFile {
  public:
    MediaFile(Engine& engine, Prng random, u64 size_bytes);

    [[nodiscard]] u64 size_bytes() const { return size_bytes_; }
    [[nodiscard]] u64 pages() const { return size_bytes_ / k_block_bytes; }

    // The kernel's side, in order of an operation's life. begin_write names the write for the rest of it.
    [[nodiscard]] u64 begin_write(u64 offset, const BufferChain& data);
    void complete_buffered(u64 write, u64 offset, usize size);
    void complete_durable(u64 write, u64 offset, usize size);
    // Its sectors may be anything now.
    void fail_write(u64 write, u64 offset, usize size);
    [[nodiscard]] u64 begin_flush() const { return completions_; }
    // All that was completed when the flush began is durable.
    void complete_flush(u64 begun_at);
    // The page cache forgets what it could not save, though it can still be read until the machine restarts.
    void fail_flush();
    // kIo at a latent error.
    [[nodiscard]] Result<Buffer> read(u64 offset, usize size) const;
    void discard(u64 offset, u64 size);

    // A crash. Killed: writes in flight complete or not, the page cache stays. Power lost: see above.
    void lose_power();
    void lose_process();

    // The view for judges: what would survive the loss of power at this instant, for certain.
    [[nodiscard]] Buffer read_durable(u64 offset, usize size) const;
    // Whether nothing of the range still waits for a flush.
    [[nodiscard]] bool is_clean(u64 offset, usize size) const;
    [[nodiscard]] usize dirty_pages() const { return pending_.size(); }
    [[nodiscard]] u64 bytes_in_use() const { return durable_.pages_in_use() * k_block_bytes; }

    // Faults at rest, on durable bytes.
    void flip_bit(u64 offset, u32 bit);
    // A page of other bytes, as a write that went astray leaves it.
    void put_at_rest(u64 offset, Bytes page);
    // Whether that was done, and the page has not been written since.
    [[nodiscard]] bool is_as_put(u64 offset) const { return put_at_rest_.contains(offset / k_block_bytes); }
    void make_unreadable(u64 offset, u64 size);  // until written again
    [[nodiscard]] PageMap snapshot() const { return durable_; }
    void roll_back(PageMap snapshot);
    void fill_with_garbage(u64 garbage_seed);  // what a used device holds
    // A page that holds something, drawn; none if the file is empty.
    [[nodiscard]] std::optional<u64> random_used_page(Prng& random) const { return durable_.random_page(random); }
    MediaFaults faults;
    // Writes and flushes that failed, and whoever waited for them was told.
    u64 failures_told = 0;

  private:
    struct Version {
        u64 write = 0;
        u64 completed = 0;    // 0: in flight; else the order of completion
        bool doomed = false;  // readable, and will never be durable
        std::shared_ptr<PageBytes> bytes;
    };
    // What becomes of one write when power is lost.
    enum class Fate : u8 { kLost, kWhole, kPages, kSectors };
    using Pending = std::map<u64, std::vector<Version>>;
    void drop_in_flight(u64 write, u64 offset, usize size);
    [[nodiscard]] Fate fate_of(u64 write, std::map<u64, Fate>& fates);
    void settle_page(u64 page, std::vector<Version>& versions, std::map<u64, Fate>& fates);
    void read_page(u64 page, u8* out) const;
    void read_durable_page(u64 page, u8* out) const;
    [[nodiscard]] PageBytes& edit_durable(u64 page);
    void write_durable(u64 page, std::shared_ptr<PageBytes> bytes);
    void check_range(u64 offset, u64 size) const;

    Engine& engine_;
    Prng random_;
    u64 size_bytes_;
    PageMap durable_;
    // Shared by all pages that were written with nothing but zeros: whoever zeroes space ahead of use costs no
    // memory.
    std::shared_ptr<PageBytes> zeros_ = std::make_shared<PageBytes>();
    Pending pending_;
    std::map<u64, u8> unreadable_;  // page -> its sectors that answer with an error
    std::set<u64> put_at_rest_;     // pages
    u64 next_write_ = 1;
    u64 completions_ = 0;
    std::optional<u64> garbage_seed_;
};

}  // namespace corelet::sim
