// VolumeHost: a volume leaves slow devices. They are not dead: nothing is given up, and what lies there stays.
#include "node/candidates.h"
#include "node/volume_serving.h"

namespace corelet {

namespace {
constexpr Duration k_leave_again = 5_s;
}  // namespace

// Its clients find the next owner at the same path only on this host; where there is none, only a volume without
// clients moves.
bool VolumeHost::may_move_from_slow_device(const std::string& name) const {
    auto const map = maps_.current();
    auto const stats = nbd_.export_stats(name);
    bool const anywhere = !stats || stats->connections == 0;
    const mesh::Corelet* const own = map->find(self_);
    return own && std::any_of(map->corelets.begin(), map->corelets.end(), [&](const mesh::Corelet& other) {
               bool const serves =
                   other.role == mesh::Role::kStorage && other.duty == mesh::Duty::kServe && other.is_up();
               return other.id != self_ && serves && !placement_.avoids(other.id) && has_session(other.id) &&
                      (anywhere || same_host(*own, other));
           });
}

// The log goes on in a standby, once there is one that does without them all. The placement chooses no others from
// now on, and has those replaced that are listed.
void VolumeHost::leave_slow_devices(Serving& serving) {
    Instant const now = env_.clock.now();
    if (placement_.avoided().empty() || now - serving.left_slow_at < k_leave_again) return;
    if (placement_.avoids(self_) && may_move_from_slow_device(serving.name)) {
        serving.left_slow_at = now;
        candidacies_[serving.name].failures = k_failures_of_hopeless;
        candidacies_[serving.name].failed_at = now;
        log_info(env_.log, "volume.leaves_slow_device", serving.name);
        scope_.spawn(release(serving.name, false, now + 2_s));
        return;
    }
    StreamStatus const stream = serving.mounted->stream->status();
    auto const is_slow = [&](CoreletId id) { return placement_.avoids(id); };
    bool const held_up = std::any_of(stream.open_segment.begin(), stream.open_segment.end(), is_slow);
    bool const ready = !stream.standbys.empty() &&
                       std::none_of(stream.standbys.begin(), stream.standbys.end(), [&](const LogSegment& standby) {
                           return std::any_of(standby.replicas.begin(), standby.replicas.end(), is_slow);
                       });
    if (!held_up || !ready) return;
    serving.left_slow_at = now;
    log_info(env_.log, "volume.log_leaves_slow_device", serving.name);
    serving.mounted->stream->request_roll();
}

}  // namespace corelet
