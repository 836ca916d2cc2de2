// What still needs a corelet that is to leave the mesh, and whether it may be removed. Pure: what is known is
// passed in.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mesh/map.h"
#include "stream/stream.pb.h"

namespace corelet {

struct DepartureView {
    const mesh::Map& map;
    CoreletId leaving;
    bool votes = false;
    struct Stream {
        std::string name;  // for people: "volume demo"
        pb::Stream record;
    };
    std::vector<Stream> streams;  // by a linearizable read
    // Its own word: fragments outside its places that nobody else has confirmed yet. Empty: it did not answer.
    std::optional<u64> strays;
    bool healing_paused = false;
};

struct Departure {
    std::vector<std::string> left;  // what needs it, in words; empty: nothing does
    std::string next;               // what to do about it
    // What is lost for good if it is removed all the same and never comes back; empty: nothing, as far as is known.
    std::vector<std::string> lost;
    [[nodiscard]] bool is_safe() const { return left.empty(); }
};

[[nodiscard]] Departure departure(const DepartureView& view);

}  // namespace corelet
