// This corelet's sign of life in the catalog: its identity recorded by compare-and-set, then a session
// (protocols 1.1, 3.2).
#pragma once

#include "catalog/catalog.h"
#include "device/store.h"
#include "mesh/membership.h"
#include "node/config.h"
#include "rt/env.h"
#include "rt/sync.h"

namespace corelet {

class SessionKeeper {
  public:
    // `forgotten` is called when the catalog has seen more of this identity than the device knows.
    SessionKeeper(Env& env, Catalog& catalog, Store& store, const NodeConfig& config,
                  std::function<void(std::string)> forgotten);
    // Zero while there is none.
    [[nodiscard]] LeaseId session() const { return session_; }
    [[nodiscard]] Event& first_session() { return first_; }
    // Renewals are numbered as they are sent. The last one that was answered counts from its sending: for its full
    // length from then on the catalog does not end the session.
    struct Renewal {
        LeaseId session;
        u64 number = 0;
    };
    [[nodiscard]] u64 renewals_sent() const { return renewals_sent_; }
    [[nodiscard]] const Renewal& renewed() const { return renewed_; }
    // The incarnation was raised: it is recorded, and a session of its own opened, with the next renewal.
    void reopen() { session_ = {}; }
    [[nodiscard]] Task<void> end();

  private:
    [[nodiscard]] Task<void> run();
    [[nodiscard]] Task<Result<void>> record_and_open();
    [[nodiscard]] Task<Result<void>> carry_sequence_on();
    Env& env_;
    Catalog& catalog_;
    Store& store_;
    const NodeConfig& config_;
    std::function<void(std::string)> forgotten_;
    LeaseId session_;
    u64 recorded_sequence_ = 0;
    u64 renewals_sent_ = 0;
    Renewal renewed_;
    Event first_;
    Scope scope_;
};

[[nodiscard]] std::string identity_key(CoreletId id);

}  // namespace corelet
