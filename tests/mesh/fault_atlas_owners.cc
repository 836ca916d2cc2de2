// Faults aimed at whoever owns a stream, and at its log, at the moments that count.
#include "stream/stream_record.h"
#include "tests/mesh/fault_atlas.h"

namespace corelet {

std::optional<FaultAtlas::Owner> FaultAtlas::draw_owner() {
    const std::string& volume = volumes_[random_.below(volumes_.size())];
    auto const server = mesh_.server_of(volume);
    if (!server || troubles_[*server] != Trouble::kNone) return std::nullopt;
    if (!options_.beyond && !may_trouble(1)) return std::nullopt;
    auto const stream = mesh_.stream_status(*server, volume);
    if (!stream || stream->open_seq == 0) return std::nullopt;
    Owner out{*server,
              {},
              SegmentId{SpaceId(mesh_.stream_record(volume).space()), stream->open_seq},
              stream->acknowledged_bytes};
    for (CoreletId id : stream->open_segment)
        if (auto const i = mesh_.index_of(id); i && *i != *server) out.replicas.push_back(*i);
    return out;
}

// Has taken the stream, and not yet committed what it found.
std::optional<usize> FaultAtlas::who_recovers(const std::string& volume) const {
    pb::Stream const newest = mesh_.stream_record(volume);
    bool const recovered = std::ranges::any_of(newest.segments(), [&](const pb::Segment& segment) {
        return segment.state() == pb::Segment::LISTED && seq_epoch(segment.seq()).v == newest.epoch();
    });
    auto const owner = mesh_.index_of(CoreletId(newest.owner()));
    return recovered || newest.owner() == 0 || !owner || !mesh_.machine(*owner).is_up() ? std::nullopt : owner;
}

// Whoever it is meant for may be in trouble of another kind by now.
void FaultAtlas::crash_now(usize index) {
    if (troubles_[index] != Trouble::kCut && troubles_[index] != Trouble::kDown) return;
    crash(index, draw(50, 6'000));
}

// Connections to replicas break, one after the other: the owner rolls, and rolls again, and dies before the ends of
// what it has left behind are committed, or what it sends again has got anywhere.
void FaultAtlas::crash_owner_after_rolls() {
    auto const owner = draw_owner();
    if (!owner || owner->replicas.empty()) return;
    world_.stats().count("owner.crashed-after-rolls");
    troubles_[owner->index] = Trouble::kDown;
    Duration at{};
    for (u64 i = random_.between(1, 4); i != 0; --i) {
        u32 const replica = static_cast<u32>(owner->replicas[random_.below(owner->replicas.size())]);
        world_.call_in(at, [self = self_, replica, index = static_cast<u32>(owner->index)] {
            if (*self) (*self)->world_.fabric().reset_streams(index, replica);
        });
        at = at + Duration{static_cast<i64>(200'000 << random_.below(9))};
    }
    at = at + Duration{static_cast<i64>(100'000 << random_.below(12))};  // now and then it lives on for a while
    after(at, &FaultAtlas::crash_now, owner->index);
    auto const leader = mesh_.catalog_leader();
    if (!leader || *leader == owner->index || random_.chance(1, 2)) return;
    cut({static_cast<u32>(owner->index)}, {static_cast<u32>(*leader)}, at + 1_ms);
}

// What it has sent gets to nobody, or to some; then it dies.
void FaultAtlas::isolate_and_crash_owner() {
    auto const owner = draw_owner();
    if (!owner) return;
    world_.stats().count("owner.isolated");
    std::vector<u32> others;
    for (u32 other = 0; other < mesh_.size(); ++other)
        if (other != owner->index && random_.chance(7, 8)) others.push_back(other);
    if (others.empty()) return;
    troubles_[owner->index] = Trouble::kCut;
    Duration const alone = draw(5, 480);  // it rolls when there is no answer for longer
    after(alone, &FaultAtlas::crash_now, owner->index);
    cut({static_cast<u32>(owner->index)}, std::move(others), alone + 1_ms);
}

// As many at once as may be away, and back soon.
void FaultAtlas::crash_replicas() {
    auto const owner = draw_owner();
    if (!owner) return;
    world_.stats().count("replicas.crashed");
    auto const ending = random_.chance(3, 4) ? sim::Ending::kPower : sim::Ending::kKill;
    std::vector<usize> victims = owner->replicas;
    victims.push_back(owner->index);
    while (!victims.empty() && may_trouble(1)) {
        usize const at = random_.below(victims.size());
        if (troubles_[victims[at]] == Trouble::kNone) crash(victims[at], ending, draw(20, 1'500));
        victims.erase(victims.begin() + static_cast<std::ptrdiff_t>(at));
    }
}

// As one corelet knows them; which one is drawn by the hour.
void FaultAtlas::remember_segments() {
    usize const index = static_cast<usize>(world_.now().ns / 250'000'000) % mesh_.size();
    if (!mesh_.node(index)) return;
    for (const KeyValue& item : mesh_.node(index)->services().catalog->local_range("streams/").items) {
        pb::Stream record;
        if (!record.ParseFromString(item.value)) continue;
        for (const pb::Segment& segment : record.segments()) {
            LogSegment spec = to_spec(SpaceId(record.space()), segment);
            if (segment.state() != pb::Segment::ENDED && seq_epoch(segment.seq()).v == record.epoch())
                prepared_.try_emplace(spec.id, Prepared{CoreletId(record.owner()), std::move(spec)});
        }
    }
}

Task<void> FaultAtlas::prepare_again(ReplicaPort* port, CoreletId replica, ReplicaPort::PrepareRequest request) {
    (void)co_await port->prepare(replica, std::move(request));
}

// The request by which a segment was prepared once arrives again, long after. Whoever has had it refuses.
void FaultAtlas::repeat_prepare() {
    if (prepared_.empty()) return;
    auto const drawn = std::next(prepared_.begin(), static_cast<std::ptrdiff_t>(random_.below(prepared_.size())));
    auto const owner = mesh_.index_of(drawn->second.owner);
    if (!owner || !mesh_.node(*owner)) return;
    world_.stats().count("prepare.again");
    ReplicaPort::PrepareRequest request;
    request.segment = drawn->second.segment;
    request.epoch = seq_epoch(drawn->first.seq);
    for (CoreletId replica : request.segment.replicas)
        if (mesh_.index_of(replica))
            mesh_.spawn(*owner, prepare_again(mesh_.node(*owner)->services().replica_port.get(), replica, request));
}

bool FaultAtlas::may_hide_losses() const {
    using enum sim::FaultKind;
    if (!options_.beyond) return false;
    return std::ranges::any_of(
        std::array{kBitRot, kLatentError, kMisdirectedRead, kMisdirectedWrite, kFailedWrite, kDeviceRollback},
        [&](sim::FaultKind kind) { return world_.stats().faults(kind) != 0; });
}

// Somebody shall own the volume anew; whoever recovers it then comes into trouble on its way.
void FaultAtlas::trouble_recovery() {
    usize const volume = random_.below(volumes_.size());
    watch_until_.resize(volumes_.size());
    bool const watched = watch_until_[volume] > world_.now();
    watch_until_[volume] = world_.now() + 8_s;
    if (random_.chance(1, 3)) {
        crash_owner();
    } else {
        change_owner();
    }
    if (!watched) strike_recovery(volume);
}

// Taken, and nothing committed yet.
void FaultAtlas::strike_recovery(usize volume) {
    if (over_ || world_.now() >= watch_until_[volume]) return;
    auto const recovering = who_recovers(volumes_[volume]);
    if (!recovering || !random_.chance(1, 4))
        return after(Duration{static_cast<i64>(500'000 << random_.below(6))}, &FaultAtlas::strike_recovery, volume);
    if (troubles_[*recovering] != Trouble::kNone || !may_trouble(1)) return;
    world_.stats().count("recovery.struck");
    watch_until_[volume] = {};
    switch (random_.below(3)) {
        case 0:
            return crash(*recovering, draw(50, 3'000));
        case 1:  // somebody else takes the stream meanwhile
            return pause(*recovering, draw(4'000, 12'000));
        default: {
            std::vector<u32> others;
            for (u32 other = 0; other < mesh_.size(); ++other)
                if (other != *recovering && random_.chance(2, 3)) others.push_back(other);
            troubles_[*recovering] = Trouble::kCut;
            return cut({static_cast<u32>(*recovering)}, std::move(others), draw(500, 10'000));
        }
    }
}

}  // namespace corelet
