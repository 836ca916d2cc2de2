// Sessions and takes. A session that was renewed is not ended within its length; a stream changes hands only after
// its owner's session has ended or the owner has let go of it, and each time at a new epoch; a life of an owner has
// an epoch of its own. What the catalog's log says is followed change by change at whoever has applied most of it.
#include "stream/stream_record.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class SessionJudge final : public Judge {
  public:
    explicit SessionJudge(Trial& trial) : Judge(trial, "sessions"), seen_(trial.mesh.size()) {}

    void after_turn(usize index) override {
        if (mesh().node(index)) look_at_renewals(index);
    }

    void stream_changed(const pb::Stream& before, const pb::Stream& now,
                        const CatalogChanges::Sessions& sessions) override {
        CoreletId const former(before.owner()), owner(now.owner());
        if (owner.is_zero() ||
            (before.epoch() == now.epoch() && former == owner && before.owner_lease() == now.owner_lease()))
            return;
        judged();
        std::string const take = "stream " + std::to_string(now.space()) + " was taken by " + to_string(owner) +
                                 " at epoch " + std::to_string(now.epoch());
        if (now.epoch() == before.epoch()) fail(take + ", which is its last owner's");
        auto const session = sessions.find(session_key(former));
        if (!former.is_zero() && former != owner && session != sessions.end() &&
            session->second.lease.v == before.owner_lease())
            fail(take + " while its owner " + to_string(former) + " has its session yet and did not let go");
    }

    // Clocks of holder and leader differ by 1 % at most.
    void catalog_changed(const CatalogState& state) override {
        for (auto at = renewed_.begin(); at != renewed_.end();) {
            auto const& [lease, session] = *at;
            if (state.leases().contains(lease)) {
                ++at;
                continue;
            }
            Duration const lived = world().now() - session.renewed_from;
            if (lived < session.length - session.length / 50)
                fail("the session of " + corelet_name(session.holder) + " was ended " + std::to_string(lived.ms()) +
                     " ms after it sent a renewal that was answered, within its length");
            at = renewed_.erase(at);
        }
    }

    // One life of one corelet serves at an epoch.
    void look() override {
        for (const std::string& name : trial().volumes)
            for (usize server : mesh().servers_of(name)) {
                auto const stream = mesh().stream_status(server, name);
                if (!stream) continue;
                Life const life{mesh().id(server), mesh().machine(server).boots()};
                auto const [known, fresh] = lives_.try_emplace({name, stream->epoch}, life);
                if (known->second != life)
                    fail(corelet_name(server) + " serves " + name + " at epoch " + std::to_string(stream->epoch.v) +
                         ", which was taken by " + to_string(known->second.first) + " in its life " +
                         std::to_string(known->second.second) + ", not by " + to_string(life.first) +
                         " in its life " + std::to_string(life.second));
            }
    }

  private:
    using Life = std::pair<CoreletId, u64>;
    struct Seen {
        u64 boot = 0;
        u64 sent = 0;
        sim::VirtualTime sent_at;
        u64 renewed = 0;
        LeaseId session;
    };
    struct Session {
        usize holder = 0;
        sim::VirtualTime renewed_from;
        Duration length;
    };

    void look_at_renewals(usize index) {
        const SessionKeeper* const keeper = mesh().node(index)->services().session.get();
        if (!keeper) return;
        Seen& seen = seen_[index];
        if (u64 const boot = mesh().machine(index).boots(); seen.boot != boot) {
            // What was sent before is not known when.
            seen = Seen{};
            seen.boot = boot;
            seen.sent = keeper->renewals_sent();
            seen.renewed = keeper->renewed().number;
        }
        if (seen.sent != keeper->renewals_sent()) {
            seen.sent = keeper->renewals_sent();
            seen.sent_at = world().now();
        }
        // Its holder may let go of it at any time.
        if (seen.session != keeper->session()) {
            renewed_.erase(seen.session);
            seen.session = keeper->session();
        }
        if (seen.renewed == keeper->renewed().number) return;
        seen.renewed = keeper->renewed().number;
        judged();
        if (keeper->renewed().session != keeper->session()) return;
        renewed_.insert_or_assign(keeper->renewed().session,
                                  Session{index, seen.sent_at, mesh().node(index)->services().config.session_ttl});
    }

    std::vector<Seen> seen_;
    std::map<LeaseId, Session> renewed_;
    std::map<std::pair<std::string, Epoch>, Life> lives_;
};

}  // namespace

std::unique_ptr<Judge> make_session_judge(Trial& trial) {
    return std::make_unique<SessionJudge>(trial);
}

}  // namespace corelet
