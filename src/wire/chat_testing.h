// A program of nodes that call each other without end, for whatever world it is run in.
#pragma once

#include "wire/rpc.h"

namespace corelet::testing {

struct ChatCounters {
    u64 answered = 0;
    u64 failed = 0;
    u64 wrong = 0;  // an answer to another question
    u64 late = 0;   // a call that ended long after its deadline, by the caller's own clock
    u64 booted = 0;
    std::map<u64, u64> answered_by;  // by the one who was asked
};

struct ChatSetup {
    u64 id = 0;
    std::map<u64, Address> addresses;  // of all, the own one included
    std::optional<u32> own_uid;
    u64 callers = 4;
    Duration pause{5'000'000};  // of a caller between two calls
};

// Listens, serves and calls until it is dropped.
[[nodiscard]] Task<void> chat(Env* env, ChatSetup setup, ChatCounters* counters);

}  // namespace corelet::testing
