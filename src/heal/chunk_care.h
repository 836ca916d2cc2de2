// Looking after chunks by name, from anywhere in the mesh: who has which fragments of them, is each where it should
// be and sound; and having the members make what they lack, and others hand on what they should not have, now.
// Keeps nothing between calls: whoever asks goes on from where it stopped.
#pragma once

#include "heal/healer.h"

namespace corelet {

// What one corelet says that it has of a chunk.
struct ChunkSight {
    u32 positions = 0;
    u32 damaged = 0;  // of these
    u32 blocks = 0;   // of each
    bool segment = false;
};

struct ChunkFinding {
    struct Place {
        CoreletId corelet;
        u8 position = 0;
        bool damaged = false;  // there, and does not verify
        friend bool operator==(const Place&, const Place&) = default;
    };
    ChunkId chunk;
    u32 blocks = 0;              // of each fragment; 0: nobody who was asked has any
    u8 survivors = 0;            // positions of which somebody has a sound fragment
    std::vector<Place> present;  // members that have theirs
    std::vector<Place> lacking;  // members that are there, and have not theirs, or a damaged one
    std::vector<Place> unseen;   // members that are down or did not answer; nobody: the place is a hole
    std::vector<Place> strays;   // sound, and not at the place's member
};

// `sights`: by who answered.
[[nodiscard]] ChunkFinding judge_chunk(const mesh::Pool& pool, ChunkId chunk,
                                       const std::map<CoreletId, ChunkSight>& sights);

class ChunkCare {
  public:
    // All outlive it.
    ChunkCare(Env& env, RpcNode& rpc, const mesh::MapSource& maps) : env_(env), rpc_(rpc), maps_(maps) {}

    struct Request {
        PoolId pool;
        SpaceId space;
        bool verify = false;      // every fragment is read by whoever has it
        bool everywhere = false;  // all who store are asked, for strays; else members and former ones
    };
    // In order, at least one; fewer than asked when time was up.
    [[nodiscard]] Task<Result<std::vector<ChunkFinding>>> look(Request request, std::vector<u64> seqs);

    // By seq, what those who were asked say. Who does not answer is not in it.
    using Sights = std::map<u64, std::map<CoreletId, ChunkSight>>;
    [[nodiscard]] Task<Sights> sights(Request request, std::map<CoreletId, std::vector<u64>> seqs);

    struct Outcome {
        ChunkFinding::Place place;
        u64 seq = 0;
        bool done = false;
        std::string why;  // it is not
    };
    // Has every member make what the findings say that it lacks. One outcome a lacking or unseen place.
    [[nodiscard]] Task<Result<std::vector<Outcome>>> mend(Request request, std::vector<ChunkFinding> findings);
    // Has strays brought home and let go of where they lie. One outcome a stray.
    [[nodiscard]] Task<Result<std::vector<Outcome>>> bring_home(Request request,
                                                                std::vector<ChunkFinding> findings);

  private:
    struct Asked {
        std::vector<u64> seqs;
        usize answered = 0;
    };
    // Each at once. What they answered of is noted in `asked`, which the caller keeps.
    [[nodiscard]] Task<Sights> ask_all(Request request, std::map<CoreletId, Asked>* asked);
    [[nodiscard]] Task<void> ask_sights(CoreletId peer, Request request, Asked* asked, Sights* sights);
    [[nodiscard]] Task<void> ask_to_mend(CoreletId member, Request request, std::vector<Outcome*> wanted,
                                         const std::map<u64, u32>* blocks);
    [[nodiscard]] Task<void> ask_to_hand_on(CoreletId holder, Request request, std::vector<Outcome*> wanted);

    Env& env_;
    RpcNode& rpc_;
    const mesh::MapSource& maps_;
};

}  // namespace corelet
