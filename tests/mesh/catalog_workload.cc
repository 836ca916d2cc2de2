#include "tests/mesh/catalog_workload.h"

#include <charconv>
#include <numeric>

namespace corelet {

namespace {

constexpr std::string_view k_prefix = "judge/";
// Of so many writes of a pair nobody knows whether they happened: another pair takes its place, for the search for
// an order goes through what they may have done.
constexpr usize k_open_pairs_most = 16;

std::string pair_prefix(usize pair) {
    return std::string(k_prefix) + std::to_string(pair) + "/";
}

std::string key_name(usize pair, usize key) {
    return pair_prefix(pair) + (key == 0 ? "a" : "b");
}

// The place counts, so that a value under a wrong key shows.
std::string value_text(u64 value, usize pair, usize key) {
    return std::to_string(value) + "@" + key_name(pair, key);
}

std::optional<u64> value_of(std::string_view text, usize pair, usize key) {
    u64 value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    if (value == 0 || text != value_text(value, pair, key)) return std::nullopt;
    return value;
}

}  // namespace

struct CatalogWorkload::Operation {
    enum class How : u8 { kTransaction, kGet, kRange };
    // A condition on a revision or a value is one to the history.
    enum class Asked : u8 { kAsItIs, kByValue };
    How how = How::kTransaction;
    usize pair = 0;
    KeyRequest request;
    std::array<Asked, k_history_keys> asked{};
    std::array<u64, k_history_keys> revisions{};  // that its conditions name
    Duration patience;
    usize handle = 0;
    u64 known = 0;  // revision, when it began

    [[nodiscard]] Transaction transaction() const {
        Transaction out;
        for (usize key = 0; key < k_history_keys; ++key) {
            const KeyCondition& condition = request.conditions[key];
            std::string const name = key_name(pair, key);
            if (condition.kind == KeyCondition::Kind::kExists) out.require_exists(name);
            if (condition.kind != KeyCondition::Kind::kIs) continue;
            if (condition.value != 0 && asked[key] == Asked::kByValue) {
                out.compares.push_back(
                    Compare{Compare::Kind::kValue, name, {}, value_text(condition.value, pair, key)});
            } else {
                out.require_revision(name, Revision(revisions[key]));
            }
        }
        for (usize key = 0; key < k_history_keys; ++key) {
            if (!request.writes[key]) continue;
            if (*request.writes[key] == 0) {
                out.remove(key_name(pair, key));
            } else {
                out.put(key_name(pair, key), value_text(*request.writes[key], pair, key));
            }
        }
        for (usize key = 0; key < k_history_keys; ++key)
            if (request.reads[key]) out.read(key_name(pair, key));
        return out;
    }
};

CatalogWorkload::CatalogWorkload(SimMesh& mesh) : CatalogWorkload(mesh, draw_options(mesh.world())) {}

CatalogWorkload::CatalogWorkload(SimMesh& mesh, CatalogWorkloadOptions options)
    : mesh_(mesh),
      world_(mesh.world()),
      options_(options),
      pairs_(options.pairs),
      current_(options.pairs),
      views_(mesh.size()),
      random_(world_.fork("catalog workload")),
      clients_(world_, {options.clients, options.think_max, options.patience}, random_,
               [this](usize client) { next(client); }) {
    std::iota(current_.begin(), current_.end(), 0U);
}

CatalogWorkloadOptions CatalogWorkload::draw_options(const sim::World& world) {
    Prng random = world.fork("catalog workload options");
    CatalogWorkloadOptions options;
    options.clients = random.between(2, 5);
    options.pairs = random.between(1, 6);
    options.think_max = Duration{static_cast<i64>(random.between(200, 1'600)) * 1'000'000};
    return options;
}

std::optional<std::string> CatalogWorkload::judge() const {
    if (trouble_) return trouble_;
    for (usize i = 0; i < pairs_.size(); ++i)
        if (auto const wrong = pairs_[i].history.judge()) return pair_prefix(i) + ": " + *wrong;
    return std::nullopt;
}

std::optional<usize> CatalogWorkload::pick_server() {
    std::vector<usize> up;
    for (usize i = 0; i < mesh_.size(); ++i)
        if (mesh_.node(i)) up.push_back(i);
    if (up.empty()) return std::nullopt;
    return up[random_.below(up.size())];
}

// --- what is asked
// ------------------------------------------------------------------------------------------------------

// On what was seen last, as a rule; so of several at once one wins.
void CatalogWorkload::draw_condition(Operation& operation, usize key) {
    KeyCondition& condition = operation.request.conditions[key];
    const KeySeen& seen = pairs_[operation.pair].seen[key];
    if (random_.chance(1, 8)) {
        condition.kind = KeyCondition::Kind::kExists;
        return;
    }
    condition.kind = KeyCondition::Kind::kIs;
    if (random_.chance(1, 8)) return;
    condition.value = seen.value;
    operation.revisions[key] = seen.revision;
    if (seen.revision == 0 || random_.chance(1, 6)) operation.asked[key] = Operation::Asked::kByValue;
}

void CatalogWorkload::draw(Operation& operation) {
    usize& pair = current_[random_.below(current_.size())];
    if (pairs_[pair].open > k_open_pairs_most) {
        pair = pairs_.size();
        pairs_.emplace_back();
    }
    operation.pair = pair;
    operation.patience = Duration{static_cast<i64>(random_.between(1'000, 8'000)) * 1'000'000};
    KeyRequest& request = operation.request;
    usize const key = random_.below(k_history_keys);
    bool const both = random_.chance(1, 4);
    u64 const dice = random_.below(100);
    if (dice < 35) {
        request.reads[key] = true;
        if (dice < 12) {
            operation.how = Operation::How::kGet;
        } else if (dice < 22) {
            operation.how = Operation::How::kRange;
            request.reads = {true, true};
        } else {
            request.reads[1 - key] = both;
            if (random_.chance(1, 4)) draw_condition(operation, key);
        }
        return;
    }
    u64 const value = random_.chance(1, 6) ? 0 : next_value_++;
    request.writes[key] = value;
    if (both) request.writes[1 - key] = random_.chance(1, 6) ? 0 : value;
    if (dice >= 60) draw_condition(operation, both && random_.chance(1, 2) ? 1 - key : key);
    if (dice >= 90) draw_condition(operation, key);
    if (random_.chance(1, 2)) request.reads = {key == 0 || both, key == 1 || both};
}

void CatalogWorkload::begin(Operation& operation, usize server) {
    Pair& pair = pairs_[operation.pair];
    operation.handle = pair.history.begin(
        operation.request, tick(),
        "at c" + std::to_string(server + 1) + ", " + std::to_string(world_.now().ns / 1'000'000) + " ms");
    if (operation.request.is_write()) ++pair.open;
    operation.known = order_.begin();
}

void CatalogWorkload::next(usize client) {
    auto const server = pick_server();
    if (!server) {
        clients_.again_in(client, 30_ms);
        return;
    }
    look_at_view(*server);
    auto operation = std::make_shared<Operation>();
    draw(*operation);
    begin(*operation, *server);
    mesh_.spawn(*server, carry_out(clients_.take_turn(client), this, mesh_.node(*server), std::move(operation)));
}

// --- what is answered
// ---------------------------------------------------------------------------------------------------

CatalogWorkload::Answer CatalogWorkload::read_items(const Operation& operation, const std::vector<KeyValue>& items,
                                                    Revision revision, bool succeeded) {
    KeyAnswer answer{succeeded, revision.v, {}};
    for (const KeyValue& item : items) {
        usize key = 0;
        while (key < k_history_keys && (!operation.request.reads[key] || item.key != key_name(operation.pair, key)))
            ++key;
        auto const value = key < k_history_keys ? value_of(item.value, operation.pair, key) : std::nullopt;
        if (!value) return {{}, "a request was answered with '" + item.value + "' of key '" + item.key + "'"};
        answer.seen[key] = {*value, item.mod_revision.v};
    }
    return {answer, {}};
}

Task<CatalogWorkload::Answer> CatalogWorkload::issue(CoreletNode* node, std::shared_ptr<Operation> operation) {
    Catalog& catalog = *node->services().catalog;
    Instant const deadline = node->services().env.clock.now() + operation->patience;
    if (operation->how == Operation::How::kGet) {
        usize const key = operation->request.reads[0] ? 0 : 1;
        auto const found = co_await catalog.get(key_name(operation->pair, key), deadline);
        if (!found) co_return Answer{std::unexpected(found.error()), {}};
        std::vector<KeyValue> items;
        if (*found) items.push_back(**found);
        co_return read_items(*operation, items, {}, true);
    }
    if (operation->how == Operation::How::kRange) {
        auto const found = co_await catalog.range(pair_prefix(operation->pair), deadline);
        if (!found) co_return Answer{std::unexpected(found.error()), {}};
        co_return read_items(*operation, found->items, found->revision, true);
    }
    auto const result = co_await catalog.commit(operation->transaction(), deadline);
    if (!result) co_return Answer{std::unexpected(result.error()), {}};
    co_return read_items(*operation, result->values, result->revision, result->succeeded);
}

Task<void> CatalogWorkload::carry_out(std::unique_ptr<Clients::Turn> turn, CatalogWorkload* self, CoreletNode* node,
                                      std::shared_ptr<Operation> operation) {
    Answer answer = co_await issue(node, operation);
    if (turn->is_heard()) self->ended(operation, std::move(answer));
}

// After an error nobody knows whether it happened, or yet will.
void CatalogWorkload::ended(const std::shared_ptr<Operation>& operation, Answer answer) {
    if (!answer.strange.empty()) {
        world_.fail("[catalog] " + answer.strange);
        return;
    }
    if (!answer.result) {
        world_.stats().count("catalog.refused." + std::string(code_name(answer.result.error().code)));
        return;
    }
    Pair& pair = pairs_[operation->pair];
    const KeyAnswer& result = *answer.result;
    pair.history.end(operation->handle, result, tick());
    if (operation->request.is_write()) --pair.open;
    bool const wrote = operation->request.is_write() && result.succeeded;
    for (usize key = 0; key < k_history_keys; ++key) {
        if (operation->request.reads[key]) pair.seen[key] = result.seen[key];
        if (wrote && operation->request.writes[key] && !operation->request.reads[key])
            pair.seen[key] = {*operation->request.writes[key],
                              *operation->request.writes[key] == 0 ? 0 : result.revision};
    }
    if (operation->how != Operation::How::kGet)
        if (auto const wrong = order_.end(operation->known, result.revision, wrote); wrong && !trouble_)
            trouble_ = pair_prefix(operation->pair) + ": " + *wrong;
    count(*operation, result.succeeded);
}

void CatalogWorkload::count(const Operation& operation, bool succeeded) {
    const KeyRequest& request = operation.request;
    auto& stats = world_.stats();
    if (!request.is_write()) {
        stats.count("catalog.read.answered");
        return;
    }
    bool const conditional = request.conditions != std::array<KeyCondition, k_history_keys>{};
    stats.count(!succeeded ? "catalog.cas.lost" : conditional ? "catalog.cas.won" : "catalog.write.acknowledged");
    ++acknowledged_;
}

// What a corelet shows at once may lag; it does not go back while the corelet runs, has no holes, and nothing in it
// was never written.
void CatalogWorkload::look_at_view(usize server) {
    RangeResult const local = mesh_.node(server)->services().catalog->local_range(k_prefix);
    View& view = views_[server];
    u64 const boot = mesh_.machine(server).boots();
    if (view.boot == boot && local.revision < view.revision && !trouble_)
        trouble_ = "the view of c" + std::to_string(server + 1) + " went back from revision " +
                   std::to_string(view.revision.v) + " to " + std::to_string(local.revision.v);
    view = {boot, local.revision};
    for (usize i = 0; i < pairs_.size(); ++i) {
        std::array<KeySeen, k_history_keys> seen{};
        for (usize key = 0; key < k_history_keys; ++key)
            for (const KeyValue& item : local.items)
                if (item.key == key_name(i, key))
                    if (auto const value = value_of(item.value, i, key)) seen[key] = {*value, item.mod_revision.v};
        pairs_[i].history.learn_view(local.revision.v, seen);
    }
}

bool CatalogWorkload::read_back(Duration bound) {
    sim::VirtualTime const until = world_.now() + bound;
    for (usize i = 0; i < pairs_.size();) {
        if (world_.now() >= until || world_.failed()) return false;
        auto const server = pick_server();
        if (!server) {
            world_.run_for(100_ms);
            continue;
        }
        auto operation = std::make_shared<Operation>();
        operation->pair = i;
        operation->request.reads = {true, true};
        operation->patience = 5_s;
        begin(*operation, *server);
        auto answer = world_.run(mesh_.machine(*server), issue(mesh_.node(*server), operation), 20_s);
        if (answer && answer->result) ++i;
        if (answer) ended(operation, *std::move(answer));
    }
    return true;
}

}  // namespace corelet
