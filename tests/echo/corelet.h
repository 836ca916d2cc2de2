// The echo corelet: answers each frame with its own bytes and a number that it never gives twice, and calls its
// peers all the time.
#pragma once

#include <map>
#include <set>

#include "rt/env.h"

namespace corelet::echo {

// What the outside observed; outlives all corelets.
struct Ledger {
    struct Pair {
        u64 answers = 0;
        u64 failures = 0;
    };
    std::map<std::pair<usize, usize>, Pair> pairs;  // client, server
    std::map<usize, u64> highest;                   // number that a server has answered with
    std::set<std::pair<usize, u64>> given;          // server, number
    std::string violation;                          // the first one

    void answered(usize client, usize server, u64 number);
};

struct Config {
    usize self = 0;
    Address listen;
    std::string device;
    std::map<usize, Address> peers;
    bool forgetful = false;  // answers before the number is durable: what the judge must notice
};

// Runs until dropped.
[[nodiscard]] Task<void> run(Env& env, Config config, Ledger* ledger);

}  // namespace corelet::echo
