// Which faults befall a simulated mesh, and when: drawn from the seed, each seed leaving some classes off (swarm
// testing, Groce et al. 2012), within what its redundancy promises. Devices are lost, rot or fail only while
// everything else is whole, and count as lost until their replacements are full; corelets that are only down or cut
// off come back. Beyond the promise nothing is held back, and what is broken need not be whole again.
#pragma once

#include <set>

#include "base/fault_point.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet {

struct FaultOptions {
    usize promise = 1;  // corelets that may be missing at one moment
    usize copies = 2;   // that the log has of everything, when all is whole
    Duration length = 50_s;
    Duration every = 900_ms;           // on average
    Duration longest = 4_s;            // that somebody is stopped or cut off
    Duration whole_for = 6_s;          // what looks whole for so long is: longer than a round of healing
    bool beyond = false;               // devices are lost whatever is broken already
    bool zones_survive = false;        // the pool is spread over zones, so that one of them may be lost
    bool lying = false;                // all devices say that they have saved what they have not
    std::vector<std::string> only;     // classes; empty: the seed draws which are on
    std::vector<std::string> without;  // classes that are off
};

class FaultAtlas {
  public:
    // The classes there are.
    [[nodiscard]] static std::vector<std::string> classes();
    // Unless each of the names is one of a class: says which is not.
    [[nodiscard]] static Result<void> check_classes(const std::vector<std::string>& names);
    FaultAtlas(SimMesh& mesh, std::vector<std::string> volumes, FaultOptions options);
    ~FaultAtlas();
    FaultAtlas(const FaultAtlas&) = delete;
    FaultAtlas& operator=(const FaultAtlas&) = delete;

    void start();
    [[nodiscard]] bool is_over() const { return over_; }
    // Nobody is cut off, paused, or has a device that went bad without being noticed yet; who is down is another
    // question.
    [[nodiscard]] bool is_open() const;
    // Nobody is in trouble, and the mesh has been whole for longer than a round of healing takes.
    [[nodiscard]] bool is_whole_for_long() const;
    // Whose device has gone bad, or is gone.
    [[nodiscard]] std::set<usize> spoiled() const;
    [[nodiscard]] bool is_spoiled(usize index) const {
        return troubles_[index] == Trouble::kSpoiled || troubles_[index] == Trouble::kOld;
    }
    // Something other than a crash has happened to the device that it has now.
    [[nodiscard]] bool was_damaged(usize index) const { return damaged_[index]; }
    // Its device is not what it was, and has to become somebody else: as soon as it is mounted, or when others tell
    // it.
    struct Former {
        CoreletId id;
        sim::VirtualTime since;
        bool is_told = false;
    };
    [[nodiscard]] std::optional<Former> former(usize index) const;
    // Somebody keeps nothing of what it is given, and says that it has it.
    struct Liar {
        usize index = 0;
        CoreletId id;
        sim::VirtualTime since;
    };
    [[nodiscard]] const std::optional<Liar>& liar() const { return liar_; }
    static constexpr Duration k_liar_found_within = 100_s;
    static constexpr Duration k_liar_for = 105_s;
    // What lies on its media of this fragment has been rotten since before that.
    [[nodiscard]] bool has_rotted(usize index, const FragmentId& fragment, sim::VirtualTime before) const;
    // Longer than anybody is stopped or cut off.
    static constexpr Duration k_longest_answer = 15_s;
    // For whoever watches: called as a corelet is about to carry out a request, and as it has and is about to
    // answer.
    std::function<void(const FaultPoints::Moment&)> on_moment;
    [[nodiscard]] usize promise() const { return options_.promise; }
    [[nodiscard]] usize copies() const { return options_.copies; }
    // Since when nothing has begun to be broken and nothing was mended.
    [[nodiscard]] sim::VirtualTime calm_since() const { return calm_since_; }
    [[nodiscard]] bool is_troubled(usize index) const { return troubles_[index] != Trouble::kNone; }
    // Also of one that is in no trouble itself: all of them may be slow for a moment.
    [[nodiscard]] bool has_slow_disk(usize index) const {
        const sim::MediaFile* const device = device_of(index);
        return device && device->faults.slow_factor > 1;
    }
    // One corelet's device, mounted at two machines, of which one has to stop.
    struct Twins {
        usize index = 0;
        CoreletId id;
        sim::VirtualTime since;
    };
    [[nodiscard]] const std::optional<Twins>& twins() const { return twins_; }
    // What is promised now of writes to a volume.
    struct Promise {
        sim::VirtualTime since;
        Duration wait_max;
        std::optional<usize> at;  // of each write to the log that this corelet has; else: some write is answered
    };
    [[nodiscard]] std::optional<Promise> promise_of_writes(const std::string& volume) const;
    // Nobody is to serve it now.
    [[nodiscard]] bool is_detached(const std::string& volume) const;
    // The last copy of what was acknowledged last may have rotted, and then nothing tells of it.
    [[nodiscard]] bool may_hide_losses() const;
    // More are away, or given up by the map as `server` has it, than the pool survives, with those that have missed
    // puts and were not healed since. They hold what they held, but nobody waits for who is out.
    [[nodiscard]] bool is_beyond_promise(usize server) const;
    // Everything that is broken and can be mended is.
    void mend_all();
    // Everybody is up, and everything is as redundant as the pools promise.
    [[nodiscard]] bool is_whole() const;
    [[nodiscard]] std::string what_is_missing() const;

  private:
    // kOld: the device has lost what it had promised, and the corelet does not know it yet.
    enum class Trouble : u8 { kNone, kDown, kCut, kPaused, kSlow, kGarbling, kSpoiled, kOld, kFilling };
    struct Class {
        // At any time; when nobody is in trouble, and nothing else begins meanwhile; or when the mesh has been
        // whole for long.
        enum class When : u8 { kAnyTime, kCalm, kWhole };
        const char* name;
        When when;
        u32 weight;
        void (FaultAtlas::*begin)();
        u32 sixths = 6;  // at most so many of the seeds have it; none: only scenarios that name it
    };
    static const std::vector<Class> k_classes;
    void draw_classes();
    [[nodiscard]] const Class* draw_class(bool whole);
    void begin(const Class& drawn);
    void step();
    [[nodiscard]] bool wait_for_calm();
    [[nodiscard]] bool wait_for_damage();
    void draw_fault();
    void after(Duration delay, void (FaultAtlas::*what)(usize), usize index);
    void look_whether_whole();
    [[nodiscard]] usize troubled() const;
    // Whoever is down comes back with all it holds, and so may be more than the promise; not while a device is bad.
    [[nodiscard]] bool may_trouble(usize more) const {
        return troubled() + more <= options_.promise + (spoiled().empty() ? crowd_ : 0);
    }
    [[nodiscard]] std::optional<usize> draw_sound();
    [[nodiscard]] Duration draw(i64 least_ms, i64 most_ms) {
        return Duration{static_cast<i64>(random_.between(static_cast<u64>(least_ms), static_cast<u64>(most_ms))) *
                        1'000'000};
    }

    [[nodiscard]] Duration draw_outage() { return draw(100, options_.longest.ms()); }
    // As often the owner of some volume as anybody.
    [[nodiscard]] std::optional<usize> draw_victim_or_owner();

    // At the instants at which requests are carried out and answered.
    struct Strike {
        enum class How : u8 { kCrash, kPause, kCut };
        u16 method = 0;
        bool is_done = false;
        bool at_caller = false;
        How how = How::kCrash;
        u64 skip = 0;    // so often nothing happens
        usize hits = 1;  // so many are struck
        sim::VirtualTime until;
    };
    void strike_at_moment();
    void at_moment(const FaultPoints::Moment& moment);
    void strike(usize index);
    void crash_struck(usize index);
    void pause_struck(usize index);
    void cut_struck(usize index);

    // Nodes and people.
    void kill_one();
    void cut_power_of_one();
    void crash_owner();
    void crash_at_some_await();
    void crash_replica();
    void strike_leader();
    void cut_leader_with_one();
    void delay_renewal();
    void slow_all_disks(usize);
    void quicken_all_disks(usize);
    void lose_rack();
    void cold_start();
    void pause_one();
    void slow_node();
    void jump_clock();
    void drift_clock();
    void change_owner();
    void detach_volume();
    void change_pool();
    // Long outages of one kind, with nothing else beside them (fault_atlas_drills.cc).
    void catalog_outage();
    void silent_replicas();
    void helpless_owner();
    void silent_holders();
    // Who is in the mesh, and what people do to it (fault_atlas_churn.cc).
    void join_one();
    void leave_one();
    void look_at_leave(usize index);
    void see_off(usize index);
    [[nodiscard]] std::optional<usize> draw_leaver();
    [[nodiscard]] std::vector<usize> present_in_zone(usize zone) const;
    void cordon_one();
    void uncordon(usize);
    void pause_healing();
    void resume_healing(usize);
    void lose_zone();
    [[nodiscard]] bool is_zone_spared(const std::vector<usize>& members) const;
    void mount_twice();
    void start_if_down(usize index);
    void look_at_twins(usize index);
    void strike_voter_change();
    void look_at_voters(usize);
    // Owners.
    void crash_owner_after_rolls();
    void isolate_and_crash_owner();
    void cut_owner_from_catalog();
    void at_fence();
    void restart_at_once(usize index);
    void be_alone(usize index);
    void move_and_pause();
    void at_release(usize owner);
    void pause_mover(usize index);
    void crash_replicas();
    void trouble_recovery();
    void repeat_prepare();
    // Network.
    void cut_one();
    void cut_one_way();
    void cut_pair();
    void cut_many();
    void clog_links();
    void delay_links();
    [[nodiscard]] bool must_reach_all() const;
    void reset_streams();
    void half_open_streams();
    // Devices.
    void slow_disk();
    void stick_disk();
    void lose_device();
    void rot_device();
    void spoil_sectors();
    void fail_sync();
    void fail_write();
    void misdirect();
    void bring_back_old_device();
    [[nodiscard]] bool has_old_device(usize index) const;
    // Rot aimed at what somebody is about to rely on (fault_atlas_rot.cc).
    void rot_log();
    void rot_log_end();
    void rot_sources();
    void swap_sources();
    void rot_stray_homes();
    void at_confirm(usize holder);
    void rot_strays(usize holder, usize member);
    void rot_journal();
    void garble_reads();
    void garble(const FaultPoints::Moment& moment);
    void garble_no_more(usize index);
    // What it says to hold (fault_atlas_liars.cc).
    void begin_to_lie();
    void end_liar(usize index);

    struct Owner {
        usize index = 0;
        std::vector<usize> replicas;  // of the open segment, but its own
        SegmentId segment;
        u64 acknowledged_bytes = 0;  // of it
    };
    // Of some volume, and in no trouble; nobody if one more is too many.
    [[nodiscard]] std::optional<Owner> draw_owner();
    [[nodiscard]] std::optional<usize> who_recovers(const std::string& volume) const;
    void crash_now(usize index);
    void strike_recovery(usize volume);
    void remember_segments();
    [[nodiscard]] static Task<void> prepare_again(ReplicaPort* port, CoreletId replica,
                                                  ReplicaPort::PrepareRequest request);
    void rot_segment(usize index, SegmentId segment, u64 offset);
    void rot_fragment(usize index, const FragmentInfo& info);
    enum class Journal : u8 { kMetadata, kConsensus };
    bool rot_promised_batch(usize index, Journal journal);
    struct Sources {
        usize index = 0;
        std::vector<FragmentInfo> fragments;
    };
    [[nodiscard]] std::optional<Sources> draw_sources();
    [[nodiscard]] std::optional<std::pair<u64, u64>> place_of(usize index, const FragmentInfo& info) const;
    void swap_fragments(usize index, const FragmentInfo& a, const FragmentInfo& b);
    // Something else stands there from now on.
    void rot_page(usize index, const FragmentId& fragment, u64 offset, const Buffer& page);
    void undo_rot(usize index);
    void spoil(usize index, Trouble trouble);
    void crash_one(sim::Ending ending);
    void cut_from_others(bool both_ways);
    bool cut_from_others(usize victim, bool both_ways, Duration time);
    void begin_lying();
    [[nodiscard]] sim::MediaFile* device_of(usize index) const;
    [[nodiscard]] std::vector<u32> all_but(std::initializer_list<usize> these) const;
    [[nodiscard]] std::optional<usize> draw_victim();  // nobody if one more is too many
    // Of somebody who is taken out after a while, and replaced; null if there is nobody.
    [[nodiscard]] sim::MediaFile* spoil_some_device();
    void remember_device();
    void crash(usize index, sim::Ending ending, Duration down);
    void crash(usize index, Duration down);
    void pause(usize index, Duration time);
    // For so long; who is in trouble by it is the caller's to say.
    void cut(std::vector<u32> from, std::vector<u32> to, Duration time, bool both_ways = true);
    void come_back(usize index);
    void resume(usize index);
    void quicken(usize index);
    void is_back(usize index);
    void note_what_it_missed(usize index);
    [[nodiscard]] bool has_been_out(const mesh::Map& map, usize index) const;
    void look_whether_noticed(usize index);
    void replace(usize index);
    void mend(usize cut);
    void heal_delays(usize);
    void attach_again(usize volume);
    void kill_if_sound(usize index);
    void fail_replica(usize index);
    void silence_next(usize rounds_left);
    void catalog_is_gone(usize);
    void silence(usize index, Duration time);
    // The owner of a volume, and a replica of its open segment that a listed standby does without.
    struct Covered {
        std::string volume;
        usize owner = 0;
        usize replica = 0;
    };
    [[nodiscard]] std::optional<Covered> draw_covered();
    void crash_spoiled(usize index);

    struct Cut {
        std::vector<u32> from, to;
        bool both_ways = true;
    };
    SimMesh& mesh_;
    sim::World& world_;
    std::vector<std::string> volumes_;
    FaultOptions options_;
    Prng random_;
    usize crowd_ = 0;  // so many more than the promise may be down or cut off: they come back with all they hold
    std::vector<sim::VirtualTime> watch_until_;  // for a recovery of this volume
    std::vector<Trouble> troubles_;
    std::set<usize> lacking_;   // were down by the map, and perhaps have not been healed since
    std::vector<u16> methods_;  // seen in this run
    std::vector<bool> is_method_seen_ = std::vector<bool>(UINT16_MAX + 1);
    std::optional<Strike> strike_;
    // An owner without the catalog: as it is fenced, it is cut off from those that would tell it.
    struct Outcast {
        usize index = 0;
        sim::VirtualTime until;
        bool restarts = false;  // of those that are asked to fence it
        std::vector<usize> replicas;
    };
    std::optional<Outcast> outcast_;
    std::optional<Liar> liar_;
    struct Leave {
        CoreletId id;
        std::shared_ptr<std::optional<Result<std::string>>> answer;  // to what was asked last
        sim::VirtualTime asked;
        bool removes = false;                   // that was to remove it
        std::optional<sim::VirtualTime> until;  // removed, and runs on
    };
    std::map<usize, Leave> leaves_;      // who is on its way out
    std::optional<CoreletId> cordoned_;  // who is, or is to be
    bool uncordoning_ = false;
    std::optional<Twins> twins_;
    std::optional<sim::VirtualTime> voters_until_;  // whoever takes part in a change of voters is struck
    std::optional<sim::VirtualTime> asked_until_;   // who asks whether he may let go of strays is struck
    std::optional<sim::VirtualTime> mover_until_;   // who moves a volume is paused
    // Maps (by corelet) all of whose slots were found in service: a map never changes.
    mutable std::vector<std::shared_ptr<const mesh::Map>> in_service_;
    std::vector<Cut> cuts_;
    sim::VirtualTime began_;
    std::optional<sim::VirtualTime> whole_since_;
    std::optional<sim::VirtualTime> quiet_until_;  // waits for wholeness, to damage a device
    sim::VirtualTime calm_since_;
    struct Drill {
        sim::VirtualTime until;
        std::string volume;               // of which more is promised than usual
        std::optional<Promise> promised;  // of it
    };
    std::optional<Drill> drill_;      // nothing else begins meanwhile
    std::map<usize, bool> detached_;  // volumes; whether they are to be attached again now
    const Class* wish_ = nullptr;     // waits until nobody is in trouble
    std::vector<const Class*> on_;    // drawn for this run
    struct Memory {
        CoreletId id;
        u64 number = 0;
        sim::PageMap device;
        sim::VirtualTime at;
    };
    std::map<usize, Memory> memories_;  // older states of devices
    std::map<usize, Former> former_;    // who must notice that he is nobody any more
    std::vector<bool> damaged_;
    struct Rot {
        usize index = 0;
        FragmentId fragment;
        u64 offset = 0;  // on the device
        Buffer before;   // what stood there
        u32 crc = 0;     // of the page, as rotten as it is
        sim::VirtualTime since;
    };
    // As it was when it rotted: nobody has written there since.
    [[nodiscard]] bool is_there(const Rot& rot) const;
    std::vector<Rot> rots_;  // to be undone
    std::optional<usize> garbling_;
    struct Prepared {
        CoreletId owner;
        LogSegment segment;
    };
    std::map<SegmentId, Prepared> prepared_;  // segments that were listed some time
    sim::VirtualTime wish_until_;
    sim::VirtualTime next_damage_;
    bool over_ = false;
    std::shared_ptr<FaultAtlas*> self_;
};

}  // namespace corelet
