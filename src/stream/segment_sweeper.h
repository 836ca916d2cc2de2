// Replicas of segments that nothing lists any more: left behind where the word to drop them did not arrive (a
// recovery that died, a standby given up, a checkpoint's release). Absence from the list proves nothing by itself;
// below the horizon it does (protocols 5.5, 8.2, 8.3). Runs at every corelet that stores.
#pragma once

#include "catalog/catalog.h"
#include "device/store.h"
#include "rt/env.h"
#include "stream/replica_server.h"
#include "stream/stream_record.h"

namespace corelet {

// Of these segments, which all belong to the stream, those that it does not list and that lie below its horizon.
[[nodiscard]] std::vector<SegmentId> dead_segments(const pb::Stream& stream, const std::vector<SegmentId>& held);

class SegmentSweeper {
  public:
    // Looks every `interval`; what seems dead twice in a row by the local view is asked for and dropped.
    SegmentSweeper(Env& env, const Store& store, ReplicaServer& replicas, Catalog& catalog,
                   Duration interval = 30_s);
    // One look, for tests too; returns how many it dropped.
    [[nodiscard]] Task<usize> sweep();

  private:
    [[nodiscard]] Task<void> run(Duration interval);
    Env& env_;
    const Store& store_;
    ReplicaServer& replicas_;
    Catalog& catalog_;
    std::set<SegmentId> suspects_;
    Scope scope_;
};

}  // namespace corelet
