// Looking after the segments of a stream's log: does each of its replicas have what it should? And what of it is
// missing, damaged or out of reach. An ended segment is never copied: what mends it is that its owner packs what it
// holds and lets go of it; the open one is rolled away from, a standby replaced.
#pragma once

#include <map>

#include "mesh/map.h"
#include "rt/env.h"
#include "stream/segment.h"
#include "stream/stream.pb.h"
#include "wire/rpc.h"

namespace corelet {

// What one replica says that it has of a segment.
struct LogSight {
    bool here = false;
    u64 end_bytes = 0;
    bool verified = false;
};
// By segment, what those who were asked say. Who does not answer is not in it.
using LogSights = std::map<u64, std::map<CoreletId, LogSight>>;

struct LogFinding {
    enum class Use : u8 { kStandby, kOpen, kEnded };
    u64 seq = 0;
    Use use = Use::kStandby;
    unsigned present = 0;
    std::vector<CoreletId> missing;  // it is there, and has not the segment, or less of it than it should
    std::vector<CoreletId> damaged;  // what it has does not verify to the end
    std::vector<CoreletId> unseen;   // down, or gave no answer
    unsigned narrow = 0;             // copies that nobody was asked to keep
    [[nodiscard]] usize found() const { return missing.size() + damaged.size() + unseen.size() + narrow; }
};
[[nodiscard]] const char* use_name(LogFinding::Use use);

// The open segment, as its owner has it: so many bytes of it are acknowledged.
struct OpenLog {
    u64 seq = 0;  // 0: there is none
    u64 acknowledged_bytes = 0;
};
// Of each segment that the record lists. `width`: copies that each used one should have; 0: as many as it has.
[[nodiscard]] std::vector<LogFinding> judge_log(const pb::Stream& stream, OpenLog open, unsigned width,
                                                const LogSights& sights);

// Asks every replica that is up of what the record lists; with `verify` each reads it. All outlive the task.
[[nodiscard]] Task<LogSights> look_at_log(Env* env, RpcNode* rpc, std::shared_ptr<const mesh::Map> map,
                                          pb::Stream stream, bool verify);

}  // namespace corelet
