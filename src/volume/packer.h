// Moves live blocks together into chunks: out of ended segments of the log, so that they can be released, and out
// of chunks that hold little else than garbage, so that those can be deleted.
//
// Two chunks at a time, each: gather (by address), put (durable), append Packed (relocate). Dropped anywhere in
// between, the old places are untouched. Where k = 1 an ended segment that is mostly live is adopted in place
// instead.
#pragma once

#include "volume/volume_core.h"

namespace corelet {

class Packer {
  public:
    explicit Packer(VolumeCore& core) : core_(core) {}
    // The worker: ends when the volume stops or after finish().
    [[nodiscard]] Task<void> run();
    // Begins no further chunk; returns when the one in hand is done.
    [[nodiscard]] Task<void> finish();

  private:
    // A block that may be worth moving.
    struct Candidate {
        u64 lba = 0;
        u64 container = 0;
        u32 block = 0;
        u32 crc = 0;
    };
    enum class Work : u8 { kNone, kPack, kClean, kMerge };
    [[nodiscard]] Work next_work() const;
    [[nodiscard]] Task<Result<void>> round(Work work);
    // Of ended segments, as many as make a good batch; those that are adopted are not among them.
    [[nodiscard]] Task<Result<void>> add_segments(std::vector<Candidate>* out);
    [[nodiscard]] Task<Result<bool>> adopt(u64 segment);
    [[nodiscard]] Task<Result<void>> add_chunks(std::vector<u64> victims, std::vector<Candidate>* out);
    [[nodiscard]] Task<Result<ChunkIndex>> read_index(u64 container);
    // [begin, end) of the candidates, and what holding their leaves costs.
    struct Portion {
        usize begin = 0;
        usize end = 0;
        std::vector<u64> leaves;
        usize cost = 0;
    };
    [[nodiscard]] Portion next_portion(const std::vector<Candidate>& candidates, usize begin) const;
    [[nodiscard]] Task<void> pack_beside(const std::vector<Candidate>* candidates, Portion portion,
                                         std::optional<Error>* failed, Permit slot);
    [[nodiscard]] Task<Result<void>> pack_chunk(const std::vector<Candidate>* candidates, Portion portion);
    [[nodiscard]] Task<Result<void>> put_chunk(std::vector<IndexEntry> entries, Buffer data);
    [[nodiscard]] std::vector<u64> victims(Work work) const;
    [[nodiscard]] Task<void> wait_for_work();
    void note_lost(const IndexEntry& entry, const Error& error);
    void say_lost(std::string_view event, const std::string& what) const;

    VolumeCore& core_;
    bool finishing_ = false;
    bool ended_ = false;
    Event idle_;
    Instant retry_lost_at_;
};

}  // namespace corelet
