// A new epoch of the map on its way through a large mesh, under virtual time: MapNews, messages and the ring of
// observers as they are; who is probed answers, nobody dies. Whole membership cores know everybody, and ten
// thousand of ten thousand do not fit a machine.
#pragma once

#include <queue>
#include <set>
#include <tuple>

#include "base/prng.h"
#include "mesh/map_news.h"
#include "mesh/membership.h"

namespace corelet::mesh {

class MapSpread {
  public:
    MapSpread(unsigned corelets, Duration delay_max, u64 seed);

    // The first corelet learns of a new map; nothing happened before. The change has so many bytes.
    void change(usize delta_bytes);
    void run(Duration length);
    [[nodiscard]] Instant now() const { return now_; }

    std::vector<Instant> learned;  // by how many so far, and when
    u64 messages = 0, message_bytes = 0;
    u64 fetches = 0, fetched_bytes = 0;

  private:
    struct Node {
        MapNews news;
        MapEpoch epoch{1};
        std::vector<u32> subjects;
        std::map<u32, MapEpoch> heard;  // epochs that others showed
        bool is_fetching = false;
    };
    struct Event {
        enum class Kind : u8 { kProbe, kMessage, kRound, kFetched };
        Instant at;
        u64 order = 0;
        Kind kind = Kind::kProbe;
        u32 who = 0;
        u32 other = 0;
        GossipMessage message;
        bool operator<(const Event& later) const { return std::tie(later.at, later.order) < std::tie(at, order); }
    };
    void plan(Event::Kind kind, Duration in, u32 who, u32 other = 0, GossipMessage message = {});
    void happen(const Event& event);
    void learn(u32 who);
    void send(u32 from, u32 to, bool wants_ack);
    void hear(u32 who, const Event& event);
    void begin_round(u32 who);
    [[nodiscard]] Duration delay();

    std::vector<Node> nodes_;
    std::priority_queue<Event> events_;
    Duration delay_max_;
    Prng rng_;
    Instant now_{1'000'000'000};
    u64 order_ = 0;
    usize delta_bytes_ = 0;
};

}  // namespace corelet::mesh
