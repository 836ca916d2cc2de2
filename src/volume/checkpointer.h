// Writes the state of one record (the cut) durably while requests go on, and lets go what only the state before it
// needed.
//
// Changed pages go to map chunks, the directory pages above them after them, then the table; then the root is
// committed in the catalog. Deletes follow the commit (protocols 8): segments go with it; a chunk that the
// committed checkpoint does not name is condemned in the log, and removed after a further checkpoint found it still
// unnamed.
#pragma once

#include "volume/page_writer.h"

namespace corelet {

class Checkpointer {
  public:
    explicit Checkpointer(VolumeCore& core) : core_(core) {}

    // The state of a committed root; the volume is empty until then.
    [[nodiscard]] Task<Result<void>> load(std::string root_bytes, RecordNumber position);
    // The worker: ends when the volume stops.
    [[nodiscard]] Task<void> run();
    // Returns when a checkpoint whose cut comes after this call is committed, and what it freed was dealt with.
    [[nodiscard]] Task<Result<void>> request();

  private:
    struct Cut {
        RecordNumber position;
        u64 horizon = 0;
        u64 size_bytes = 0;
        u64 mapped_blocks = 0;
        std::vector<PageCache::Frozen> leaves;
        std::map<u32, ContainerTable::Page> container_pages;
        u32 container_page_count = 0;
        CheckpointTable table;  // segments; the rest comes while it is written
        std::vector<u64> released;
        std::vector<u64> adopted;    // released too, but for the stream alone
        std::vector<u64> condemned;  // may be removed once this is committed
    };
    // A directory page's next version, kept until the commit.
    struct NewPage {
        PagePin pin;
        std::shared_ptr<PageData> data;
    };
    using Changes = std::map<u64, std::vector<std::pair<u32, PageRef>>>;  // of directory pages: slot, new reference

    [[nodiscard]] Task<Result<void>> checkpoint();
    [[nodiscard]] Cut make_cut();
    [[nodiscard]] Task<Result<CheckpointRoot>> write(Cut* cut, PageWriter* writer);
    [[nodiscard]] Task<Result<void>> write_leaves(Cut* cut, PageWriter* writer, Changes* changes);
    [[nodiscard]] Task<Result<void>> write_directories(u8 level, Changes changes, PageWriter* writer,
                                                       Changes* above);
    [[nodiscard]] Task<Result<void>> write_table(Cut* cut, PageWriter* writer, CheckpointRoot* root);
    [[nodiscard]] Task<Result<void>> commit(const Cut* cut, CheckpointRoot root);
    void install(Cut cut, CheckpointRoot root, const PageWriter& writer);
    [[nodiscard]] usize count_pages(const Cut& cut) const;
    [[nodiscard]] Task<Result<void>> delete_dead(std::vector<u64> condemned);
    [[nodiscard]] Task<void> wait_until_wanted();
    [[nodiscard]] Task<Result<void>> load_containers(CheckpointTable table);
    void freed(const PageRef& ref) {
        if (!ref.is_null()) freed_blocks_[ref.chunk] += k_page_blocks;
    }
    // Map chunks that are mostly garbage: their live pages are written again with the next checkpoint.
    [[nodiscard]] Task<Result<void>> clean_map();
    [[nodiscard]] Task<Result<void>> rewrite_pages(u64 chunk);
    [[nodiscard]] bool is_wanted() const;
    [[nodiscard]] bool is_wanted_when_idle() const;
    [[nodiscard]] bool has_deletes() const;
    [[nodiscard]] Task<Result<Buffer>> read_table(std::vector<TableExtent> extents);

    VolumeCore& core_;
    std::vector<PageRef> container_refs_;
    std::vector<TableExtent> table_;
    std::vector<NewPage> new_pages_;
    std::map<u64, u32> freed_blocks_;      // by map chunk, by the checkpoint that is being written
    std::set<u64> rewrite_1_, rewrite_2_;  // directory pages to be written again though nothing below them changed
    Instant last_checkpoint_;
    u64 requested_ = 0;
    u64 completed_ = 0;
    Notify completed_changed_;
};

}  // namespace corelet
