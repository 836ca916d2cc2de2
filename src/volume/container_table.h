// The segments and chunks of a volume, and how many blocks of each the map still names: exact, kept with every
// change of an entry. Says what can be packed, released, cleaned and deleted. No I/O.
//
// Its stored form: one record a container in pages of 512, of which a checkpoint writes those that changed. Map
// chunks have their records in the checkpoint's table instead, since it is the checkpoint itself that changes them.
#pragma once

#include <map>
#include <set>
#include <unordered_map>

#include "base/intrusive_list.h"
#include "rt/sync.h"
#include "stream/log_stream.h"
#include "volume/map_format.h"

namespace corelet {

enum class ContainerKind : u8 {
    kSegment = 1,  // of the log: may take more records
    kEnded = 2,    // of the log: takes none; to be packed
    kChunk = 3,    // packed blocks behind an index
    kAdopted = 4,  // an ended segment that became a chunk in place
    kIndex = 5,    // the index chunk of an adopted segment
    kMap = 6,      // pages of the map
};

// Which blocks of a segment the map names, as far as they are live.
struct SegmentIndex {
    static constexpr u64 k_none = UINT64_MAX;
    std::vector<u64> lba;
    std::vector<u32> crc;
};

struct Container : ListNode {
    u64 seq = 0;
    ContainerKind kind = ContainerKind::kSegment;
    bool condemned = false;
    bool lost_blocks = false;  // some could not be read when it was to be packed; not stored
    // Nobody will read it again, whoever replays the log from whichever committed checkpoint: never whole, or dead
    // in a committed checkpoint. It may be there in part. Not stored: a replay finds out the same.
    bool is_leftover = false;
    u32 blocks = 0;  // in all; of an open segment: as far as seen
    u32 live = 0;
    u32 slot = 0;                         // of its stored record; no meaning for map chunks
    u64 index_chunk = 0;                  // of an adopted segment
    RecordNumber condemned_at;            // of the mark; zero: before the last attach
    std::unique_ptr<SegmentIndex> index;  // of segments

    [[nodiscard]] bool in_log() const { return kind == ContainerKind::kSegment || kind == ContainerKind::kEnded; }
    // Its live share decides whether it is cleaned.
    [[nodiscard]] bool is_data_chunk() const {
        return kind == ContainerKind::kChunk || kind == ContainerKind::kAdopted;
    }
};

class ContainerTable {
  public:
    static constexpr u32 k_record_bytes = 32;
    static constexpr u32 k_records_per_page = k_page_bytes / k_record_bytes;

    // Data chunks of fewer blocks than `small_chunk_blocks` are small: merged with others when there are many.
    explicit ContainerTable(u32 small_chunk_blocks);
    ~ContainerTable();

    [[nodiscard]] Container* find(u64 seq);
    [[nodiscard]] const Container* find(u64 seq) const { return const_cast<ContainerTable*>(this)->find(seq); }
    // A new one with nothing live. There is none of that name.
    Container& add(u64 seq, ContainerKind kind, u32 blocks);
    // The segment, made if it is new.
    Container& segment(u64 seq);
    void erase(u64 seq);

    // The map names the block from now on.
    void gain(Container& container, u32 block, u64 lba, u32 crc);
    // The entry that named it was replaced.
    void lose(const BlockEntry& old);
    // Of map and index chunks: their owner counts.
    void set_live(Container& container, u32 live);

    void end_segment(u64 seq, u64 end_bytes);
    void adopt(Container& segment, u32 blocks, u64 index_chunk);
    void condemn(u64 seq, RecordNumber at);

    // --- what is to be done
    // ------------------------------------------------------------------------------------------- Ended segments
    // with live blocks, in the order in which they ended, without those whose blocks were lost.
    [[nodiscard]] std::vector<Container*> packable() const;
    // Those whose blocks were lost are tried again.
    void forget_losses();
    // Ended segments that nothing refers to.
    [[nodiscard]] std::vector<u64> releasable() const;
    [[nodiscard]] usize ended_segments() const { return ended_.size(); }
    // Segments that have been adopted, and that the stream lists until a checkpoint has taken them off: chunks by
    // now, which may be dead and gone before that.
    [[nodiscard]] const std::vector<u64>& adopted() const { return adopted_; }
    // The first so many: those that come meanwhile stand behind them.
    void forget_adopted(usize count);
    // Data and map chunks with nothing live, not condemned yet; with their index chunks.
    [[nodiscard]] std::vector<u64> dead() const;
    [[nodiscard]] std::vector<u64> condemned() const;
    // Chunks that something live refers to: of data, index and map. For judges and status; looks at all.
    [[nodiscard]] std::vector<u64> live_chunks() const;
    // Chunks worth cleaning, least live share first, as long as their live blocks fit into `live_blocks_max`;
    // chunks of more than `live_permille_max` are left.
    [[nodiscard]] std::vector<Container*> victims(u64 live_blocks_max, u32 live_permille_max,
                                                  usize count_max) const;

    // Data chunks with something live and few blocks, oldest first.
    [[nodiscard]] const std::map<u64, Container*>& small_chunks() const { return small_; }

    // --- stored form
    // --------------------------------------------------------------------------------------------------
    using Page = std::shared_ptr<PageData>;
    // Pages with changes since the last call, by index. `without` are left out: the checkpoint releases them.
    [[nodiscard]] std::map<u32, Page> take_changed_pages(const std::vector<u64>& without);
    void touch_page(u32 page) { changed_.at(page) = 1; }
    [[nodiscard]] Result<void> restore_page(u32 page, const PageData& data);
    struct LiveBlock {
        u32 block = 0;
        u64 lba = 0;
        u32 crc = 0;
    };
    [[nodiscard]] static std::vector<LiveBlock> live_blocks(const Container& segment);
    [[nodiscard]] Result<void> restore_index(u64 segment, const std::vector<LiveBlock>& live);
    [[nodiscard]] u32 page_count() const { return static_cast<u32>(div_ceil(slots_.size(), k_records_per_page)); }
    [[nodiscard]] const std::map<u64, Container*>& map_chunks() const { return map_chunks_; }
    [[nodiscard]] const std::map<u64, Container*>& segments() const { return segments_; }

    // --- counts, in blocks
    // -------------------------------------------------------------------------------------------
    struct Totals {
        u64 chunk_blocks = 0;  // of data chunks that are not condemned, indexes included
        u64 chunk_live = 0;
        u64 dead_blocks = 0;     // of those, of chunks with nothing live
        u64 segment_blocks = 0;  // of the log, headers included
        u64 segment_live = 0;
        u64 map_blocks = 0;
        u64 map_live = 0;
        usize containers = 0;
        usize dead_chunks = 0;  // data chunks not condemned yet
        usize condemned = 0;
        usize condemned_data = 0;  // without map chunks
    };
    [[nodiscard]] Totals totals() const;
    [[nodiscard]] u64 live_blocks() const { return chunk_live_ + segment_live_; }

  private:
    static constexpr usize k_buckets = 65;  // 0: nothing live; then by 64ths
    [[nodiscard]] static usize bucket_of(const Container& container);
    Container& create(u64 seq, ContainerKind kind, u32 blocks, u32 slot);
    void changed(const Container& container);
    void place(Container& container);
    void count_in(const Container& container);
    void count_out(const Container& container);
    void count_live(Container& container, i64 change);

    std::unordered_map<u64, std::unique_ptr<Container>> by_seq_;  // lookup only
    std::vector<Container*> slots_;
    std::set<u32> free_slots_;
    std::vector<u8> changed_;  // by page
    std::map<u64, Container*> segments_;
    std::map<u64, Container*> map_chunks_;
    std::map<u64, Container*> condemned_;
    std::map<u64, Container*> small_;
    std::vector<u64> ended_;  // in that order
    std::vector<u64> adopted_;
    std::array<IntrusiveList<Container>, k_buckets> buckets_;
    Container* last_found_ = nullptr;
    u32 small_chunk_blocks_;
    u64 chunk_blocks_ = 0, chunk_live_ = 0, segment_blocks_ = 0, segment_live_ = 0, map_blocks_ = 0, map_live_ = 0;
    u64 dead_blocks_ = 0;
    usize dead_count_ = 0;
    usize condemned_data_ = 0;
};

}  // namespace corelet
