#include "stream/stream_rig_testing.h"

namespace corelet {

namespace {
Task<void> idle(Env* env) {
    for (;;) co_await env->clock.sleep(1_s);
}
sim::Node* start(sim::World& world) {
    sim::Node& node = world.add_node("n");
    node.start([](Env& env) { return idle(&env); });
    return &node;
}
}  // namespace

StreamRig::StreamRig(u64 seed, u64 corelets, LogPolicy policy)
    : world(seed), node(start(world)), env(node->env()), catalog(env.clock), replicas(env, times) {
    world.expect_error("recovery.lost");
    pb::Stream stream;
    stream.set_space(k_space.v);
    stream.set_pool(1);
    Transaction transaction;
    transaction.put(stream_key(k_space), stream.SerializeAsString());
    for (u64 id = 1; id <= corelets; ++id) {
        candidates.push_back(std::make_unique<Candidate>(*this, CoreletId(id)));
    }
    EXPECT_TRUE(await(catalog.commit(std::move(transaction), env.clock.now() + 5_s)));
    for (auto& candidate : candidates) candidate->placement.rules = policy;
    for (u64 id = 1; id <= corelets; ++id) {
        set_up(id, true);
        set_session(id, true);
    }
}

void StreamRig::Sink::apply(RecordNumber record, const LogEntry& entry, LogPlace) {
    u64 tag = 0;
    CORELET_ASSERT(entry.meta.size() == 8);
    std::memcpy(&tag, entry.meta.data(), 8);
    EXPECT_TRUE(record == last || record == last.next()) << "record " << record.v << " after " << last.v;
    last = record;
    tags.push_back(tag);
    if (incarnation == 0) return;  // replayed: judged when all of it is there
    if (incarnation == rig->newest) {
        rig->served.push_back(tag);
    } else {
        EXPECT_TRUE(std::find(rig->served.begin(), rig->served.end(), tag) != rig->served.end())
            << "acknowledged by a former owner, unknown to its successor: " << tag;
    }
}

Task<Result<void>> StreamRig::take(u64 id, bool force, bool caretaker) {
    Candidate& candidate = at(id);
    candidate.owner.reset();
    candidate.sinks.push_back(std::make_unique<Sink>());
    Sink* const sink = candidate.sinks.back().get();
    sink->rig = this;
    StreamDeps deps{env, candidate.catalog, candidate.port, candidate.placement, candidate.id, candidate.session};
    TakeOptions take_options;
    take_options.stream = options;
    take_options.stream.owner.times = times;
    take_options.force = force;
    take_options.caretaker = caretaker;
    take_options.timeout = take_timeout;
    auto const restore = [](StreamRig* rig) -> Task<Result<void>> {
        if (rig->fail_restore) co_return std::unexpected(rig->restore_error);
        co_return {};
    };
    CO_TRY(candidate.owner, co_await take_stream(deps, k_space, take_options, *sink,
                                                 [this, restore, sink](std::string, RecordNumber position) {
                                                     sink->last = position;
                                                     return restore(this);
                                                 }));
    if (caretaker) co_return {};
    EXPECT_LE(served.size(), sink->tags.size()) << "served entries are missing";
    for (usize i = 0; i < std::min(served.size(), sink->tags.size()); ++i)
        if (served[i] != sink->tags[i]) {
            ADD_FAILURE() << "entry " << i << " was " << served[i] << " and is " << sink->tags[i]
                          << " for the next owner";
            break;
        }
    std::set<u64> const once(sink->tags.begin(), sink->tags.end());
    EXPECT_EQ(once.size(), sink->tags.size()) << "an entry is in the log twice";
    served = sink->tags;
    sink->incarnation = ++newest;
    co_return {};
}

void StreamRig::set_up(u64 id, bool up) {
    for (auto& candidate : candidates)
        up ? void(candidate->placement.up.insert(CoreletId(id)))
           : void(candidate->placement.up.erase(CoreletId(id)));
}

void StreamRig::set_session(u64 id, bool alive) {
    Transaction transaction;
    transaction.remove(session_key(CoreletId(id)));
    if (alive) {
        auto const lease = await(catalog.grant_lease(100'000_s, env.clock.now() + 5_s));
        ASSERT_TRUE(lease);
        at(id).session = *lease;
        transaction.put(session_key(CoreletId(id)), "1", *lease);
    }
    EXPECT_TRUE(await(catalog.commit(std::move(transaction), env.clock.now() + 5_s)));
}

void StreamRig::kill(u64 id) {
    replicas.host(CoreletId(id)).down = true;
    set_up(id, false);
    set_session(id, false);
}

void StreamRig::revive(u64 id) {
    replicas.restart(CoreletId(id));
    set_up(id, true);
    set_session(id, true);
}

pb::Stream StreamRig::record() const {
    pb::Stream stream;
    for (const KeyValue& item : catalog.local_range(stream_key(k_space)).items)
        EXPECT_TRUE(stream.ParseFromString(item.value));
    return stream;
}

usize StreamRig::count(const pb::Stream& stream, pb::Segment::State state) {
    return static_cast<usize>(std::count_if(stream.segments().begin(), stream.segments().end(),
                                            [&](const pb::Segment& s) { return s.state() == state; }));
}

}  // namespace corelet
