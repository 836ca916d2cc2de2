// A group of cores in a pure simulation: a soup of messages (delay, loss, duplication, reordering, blocked links),
// journals that lose what was not durable at a crash, skewed clocks, clients; all from one seed. The judge looks at
// every step.
#pragma once

#include <deque>
#include <functional>
#include <map>

#include "raft/judge_testing.h"

namespace corelet::raft::testing {

// Chances are in 1/1000.
struct Weather {
    u64 loss = 0;
    u64 duplicate = 0;
    u64 straggle = 0;       // a message takes up to straggle_max
    u64 postpone_turn = 0;  // a turn waits, so that events share it
    Duration delay_min = 200_us;
    Duration delay_max = 2_ms;
    Duration straggle_max = 4_s;
    Duration disk_min = 200_us;
    Duration disk_max = 3_ms;
    usize batches_max = 4;  // that a journal takes at once
};

class Cluster {
  public:
    struct Member {
        CoreletId id;
        Restored media;
        std::optional<Core> core;  // runs
        u64 life = 0;
        bool lost = false;  // its media are gone for ever
        i64 skew_permille = 0;
        Duration offset;
        Chain chain;
        struct Pending {
            u64 ticket = 0;
            Persist batch;
            std::vector<Message> after;
        };
        std::deque<Pending> journal;
        Instant journal_free;  // when the last batch given to the journal will be durable
        std::map<Index, Term> proposals;
        std::map<u64, Index> reads;  // context to floor
        u64 reads_done = 0;
        u64 reads_failed = 0;
        bool turn_planned = false;
        Instant wake_planned;
    };

    Cluster(u64 seed, const Options& options, const Weather& weather);

    // A member with these media, not running yet; identities are 1, 2, 3 ... in order.
    CoreletId add(Restored media);
    // n members that start as the voters of a new group, running.
    void found(usize n);
    void start(CoreletId id, bool mount_bar = false);
    // Of the batches given to the journal and not durable, a random prefix survives.
    void crash(CoreletId id);
    // The media are gone, too: nobody will ever be this identity again.
    void lose(CoreletId id);
    // At the next start the last `entries` of the log have rotted. Only while it does not run. False: nothing to
    // rot.
    bool rot(CoreletId id, usize entries);

    void block(CoreletId from, CoreletId to) { blocked_.insert({from, to}); }
    void isolate(CoreletId id);
    void split(const std::set<CoreletId>& side);
    void unblock() { blocked_.clear(); }
    // Messages for which it is true are lost.
    void drop_if(std::function<bool(const Message&)> filter) { filter_ = std::move(filter); }
    // Forgets what is under way.
    void drain_soup() { soup_.clear(); }
    void set_weather(const Weather& weather) { weather_ = weather; }

    bool step();  // the next event
    void run_for(Duration duration);
    // False: it did not come true in `bound`.
    bool run_until(const std::function<bool()>& done, Duration bound);
    [[nodiscard]] Instant now() const { return now_; }

    [[nodiscard]] Member& at(CoreletId id) { return members_.at(id); }
    [[nodiscard]] Core& core(CoreletId id) { return members_.at(id).core.value(); }
    [[nodiscard]] std::map<CoreletId, Member>& members() { return members_; }
    [[nodiscard]] bool runs(CoreletId id) { return members_.at(id).core.has_value(); }
    // The leader of the greatest term that anyone leads in; zero: none.
    [[nodiscard]] CoreletId leader() const;
    // Its timer is due now: a follower that hears no leader begins an election. Its clock jumps there.
    void hasten(CoreletId id);
    // Carries out what the core wants now; to be called after the core was used directly.
    void turn(CoreletId id);
    // Time for its core, as its own clock shows it.
    [[nodiscard]] Instant local_time(const Member& member) const;

    // A client's command to this member; true: taken (not yet acknowledged).
    bool propose(CoreletId id, usize bytes = 8);
    // A client's read at this member; true: begun.
    bool read(CoreletId id);
    void snapshot(CoreletId id, usize padding);
    // Waits for a leader and for a command through it. False: not within `bound`.
    bool works(Duration bound);

    Judge judge;
    Prng random;
    // If set, told in words what happens.
    std::function<void(const std::string&)> trace;

  private:
    struct Delivery {
        Message message;
    };
    struct Durable {
        CoreletId id;
        u64 life = 0;
        u64 ticket = 0;
    };
    struct Wake {
        CoreletId id;
        u64 life = 0;
        bool turn = false;  // a postponed turn
        bool lift = false;  // the mount's bar
    };
    using Event = std::variant<Durable, Wake>;

    void tell(const Member& member, const std::string& what) const;
    void send(Message message, const Restored& media);
    void persist(Member& member, Effects& effects);
    void carry_out(Member& member, Effects effects);
    void apply(Member& member, const Effects& effects);
    void finish_reads(Member& member, const Effects& effects);
    void happen(const Delivery& delivery);
    void happen(const Durable& durable);
    void happen(const Wake& wake);
    void after_event(Member& member);
    void plan_wake(Member& member);
    [[nodiscard]] std::map<CoreletId, const Restored*> media() const;
    void plan(Duration delay, Event event) {
        events_.emplace(std::pair(now_ + delay, ++sequence_), std::move(event));
    }
    [[nodiscard]] Duration drawn(Duration low, Duration high);

    Options options_;
    Weather weather_;
    Instant now_;
    u64 sequence_ = 0;
    u64 next_context_ = 0;
    std::map<CoreletId, Member> members_;
    std::map<std::pair<Instant, u64>, Event> events_;
    std::map<std::pair<Instant, u64>, Delivery> soup_;
    std::set<std::pair<CoreletId, CoreletId>> blocked_;
    std::function<bool(const Message&)> filter_;
};

}  // namespace corelet::raft::testing
