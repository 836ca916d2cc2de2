// Watches over health at one corelet: looks around twice a second, keeps the ledger and the event log, asks those
// whom it observes how their devices are, and has what is new go round slow devices. The shell around
// health_ledger.h, event_log.h, request_watch.h and device_watch.h.
//
// Who watches what: a corelet those of whom it is an observer, itself and its own device, whomever it sends
// requests to, and the volumes that it owns; the catalog's leader the pools, the mesh, and volumes that nobody
// owns.
#pragma once

#include <deque>
#include <map>
#include <set>

#include "catalog/parsed_records.h"
#include "mesh/observers.h"
#include "node/device_watch.h"
#include "node/event_log.h"
#include "node/health_ledger.h"
#include "node/request_watch.h"
#include "node/volume_host.h"
#include "rt/env.h"
#include "rt/scope.h"
#include "rt/sync.h"
#include "wire/rpc.h"

namespace corelet {

class NodeServices;

class HealthService {
  public:
    // Watches from now on until destroyed. `node` has all of its parts that this uses: whatever needs the observer
    // goes first.
    explicit HealthService(NodeServices& node);
    ~HealthService();
    HealthService(const HealthService&) = delete;
    HealthService& operator=(const HealthService&) = delete;
    void start();

    [[nodiscard]] RequestObserver* observer() { return &requests_; }
    void map_changed();
    [[nodiscard]] const HealthLedger& ledger() const { return ledger_; }
    [[nodiscard]] const EventLog& events() const { return events_; }
    [[nodiscard]] WallTime watching_since() const { return watching_since_; }
    // Whom the catalog holds to have a slow device.
    struct SlowMark {
        CoreletId found_by;
        std::string reason;
    };
    [[nodiscard]] const std::map<CoreletId, SlowMark>& slow_devices() const { return slow_; }
    [[nodiscard]] DeviceSpeed speed() const { return {reads_.cost(), writes_.cost()}; }

  private:
    // health_service.cc: looking around.
    [[nodiscard]] Task<void> run();
    void look();
    void look_at_peers(Findings& out);
    void look_at_requests(Findings& out);
    void look_at_self(Findings& out);
    void look_at_device(Findings& out);
    using Owned = std::map<std::string, VolumeHost::Owned>;
    void look_at_volumes(const Owned& owned, Findings& out);
    void look_at_mesh(Findings& out);
    void look_at_pools(Findings& out);
    void look_for_unowned(Findings& out);
    void forget_what_is_others(const Owned& owned);
    [[nodiscard]] bool is_member(CoreletId id) const;
    void measure_device();
    void write_something();
    [[nodiscard]] Task<void> write_note();
    [[nodiscard]] Task<void> remember();

    // health_peers.cc: what observers ask, and slow devices.
    [[nodiscard]] Task<Result<Reply>> on_ask(Request request);
    void ask_peers();
    [[nodiscard]] Task<void> ask(CoreletId peer, bool write);
    void look_at_marks();
    void judge_peers();
    [[nodiscard]] bool may_mark() const;
    [[nodiscard]] Task<void> mark(CoreletId device, std::string reason);
    [[nodiscard]] Task<void> unmark(CoreletId device);
    void sweep_marks();
    void go_round_slow_devices();

    struct Word {
        Instant at;
        DeviceSpeed speed;
        std::string device_class;
    };
    struct Errors {
        u64 corrupt = 0, refused = 0;
    };

    NodeServices& node_;
    Env& env_;
    CoreletId self_;
    WallTime watching_since_;
    HealthLedger ledger_;
    EventLog events_;
    RequestWatch requests_;
    CostMeter reads_, writes_;
    std::vector<CoreletId> subjects_;
    std::map<CoreletId, Word> words_;  // of subjects
    std::set<CoreletId> asking_;
    std::map<CoreletId, SlowMark> slow_;
    ParsedRecords<pb::SlowDevice> marks_;
    ParsedRecords<pb::Volume> volumes_;
    ParsedRecords<pb::Stream> streams_;
    std::set<CoreletId> marking_;
    MapEpoch pools_looked_at_;
    std::map<std::string, Finding> pools_;  // by that map
    std::optional<Instant> no_quorum_since_;
    std::map<std::string, Instant> unowned_since_;  // volumes
    std::deque<Errors> errors_;                     // of the device, by window, of the last minute
    Duration late_{};                               // the loop, when it last was
    Instant late_at_;
    Instant window_due_;
    std::optional<Instant> writing_since_;
    Instant wrote_at_;
    u64 notes_written_ = 0;
    Notify remember_wanted_;
    Notify write_wanted_;
    bool dirty_ = false;
    u64 remembered_usual_ = 0;
    Scope scope_;
};

[[nodiscard]] std::string slow_device_key(CoreletId id);

}  // namespace corelet
