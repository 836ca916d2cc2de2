// Clients of the catalog of a simulated mesh: at whichever corelet they put, get, compare-and-set and delete keys
// that nobody else uses, pairs of them, one or both in a transaction. What they did and saw is recorded outside of
// the mesh and judged (key_history.h).
#pragma once

#include <memory>

#include "tests/mesh/clients.h"
#include "tests/mesh/key_history.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet {

struct CatalogWorkloadOptions {
    usize clients = 3;
    usize pairs = 4;
    Duration think_max = 400_ms;
    Duration patience = 6_s;  // then a client gives the operation up and goes on
};

class CatalogWorkload {
  public:
    // How many clients there are, of how many pairs, and how fast, is drawn from the world's seed.
    explicit CatalogWorkload(SimMesh& mesh);
    CatalogWorkload(SimMesh& mesh, CatalogWorkloadOptions options);
    CatalogWorkload(const CatalogWorkload&) = delete;
    CatalogWorkload& operator=(const CatalogWorkload&) = delete;

    void start() { clients_.start(); }
    // No new operation is begun.
    void stop() { clients_.stop(); }
    [[nodiscard]] bool idle() const { return clients_.idle(); }
    [[nodiscard]] u64 acknowledged() const { return acknowledged_; }
    // Reads every pair, once each; the world runs meanwhile. False: one could not be read within the bound.
    [[nodiscard]] bool read_back(Duration bound);
    // What no order of the operations explains, if anything.
    [[nodiscard]] std::optional<std::string> judge() const;

  private:
    struct Operation;
    struct Pair {
        KeyHistory history;
        std::array<KeySeen, k_history_keys> seen{};  // last by any client
        usize open = 0;                              // writes that were begun and never answered with success
    };
    struct View {
        u64 boot = 0;
        Revision revision;
    };
    struct Answer {
        Result<KeyAnswer> result = fail(Code::kTimeout, "no answer");
        std::string strange;  // what was answered is no answer to what was asked
    };
    [[nodiscard]] static CatalogWorkloadOptions draw_options(const sim::World& world);
    [[nodiscard]] static Task<void> carry_out(std::unique_ptr<Clients::Turn> turn, CatalogWorkload* self,
                                              CoreletNode* node, std::shared_ptr<Operation> operation);
    [[nodiscard]] static Task<Answer> issue(CoreletNode* node, std::shared_ptr<Operation> operation);
    [[nodiscard]] static Answer read_items(const Operation& operation, const std::vector<KeyValue>& items,
                                           Revision revision, bool succeeded);
    void next(usize client);
    void draw(Operation& operation);
    void draw_condition(Operation& operation, usize key);
    void begin(Operation& operation, usize server);
    void ended(const std::shared_ptr<Operation>& operation, Answer answer);
    void count(const Operation& operation, bool succeeded);
    void look_at_view(usize server);
    [[nodiscard]] std::optional<usize> pick_server();
    [[nodiscard]] u64 tick() { return ++tick_; }

    SimMesh& mesh_;
    sim::World& world_;
    CatalogWorkloadOptions options_;
    std::vector<Pair> pairs_;
    std::vector<usize> current_;  // pairs that are asked for
    std::vector<View> views_;     // of each corelet, what it shows without asking others
    RevisionOrder order_;
    std::optional<std::string> trouble_;
    Prng random_;
    u64 tick_ = 0;
    u64 next_value_ = 1;
    u64 acknowledged_ = 0;
    Clients clients_;
};

}  // namespace corelet
