// One run of a node's program, from boot to its end. Everything the program holds on the outside (sockets, open
// files, work handed to threads) belongs to a Process, and outlives it only as the kernel or the network would keep
// it.
#pragma once

#include "base/assert.h"
#include "base/types.h"

namespace corelet::sim {

enum class Ending : u8 {
    kKill,   // kill -9: the kernel closes its sockets, the page cache stays
    kPower,  // the machine stops: nobody is told
};

struct Process {
    u32 node = 0;
    u32 machine = 0;
    u64 boot = 0;  // counts the node's boots
    bool ended = false;
    bool tearing_down = false;
    Ending ending = Ending::kKill;

    // A crash destroys the program's objects; what they do then would never happen in the real world.
    void check_may_act() const {
        CORELET_ASSERT(!tearing_down, "a destructor does I/O: a crash would never run it");
        CORELET_ASSERT(!ended, "an object of an ended process is used");
    }
};

}  // namespace corelet::sim
