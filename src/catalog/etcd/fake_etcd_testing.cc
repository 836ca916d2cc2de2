#include "catalog/etcd/fake_etcd_testing.h"

#include "base/base64.h"

namespace corelet::etcd {

namespace {

bool covers(const Json& request, const std::string& key) {
    std::string const from = bytes(request, "key"), end = bytes(request, "range_end");
    return end.empty() ? key == from : key >= from && key < end;
}

Json quoted(u64 number) {
    return std::to_string(number);
}

}  // namespace

Json FakeStore::header() const {
    return Json{{"member_id", "1"}, {"raft_term", quoted(term)}, {"revision", quoted(revision_)}};
}

std::optional<std::string> FakeStore::value(const std::string& key) const {
    auto const found = items_.find(key);
    return found == items_.end() ? std::nullopt : std::optional(found->second.value);
}

Json FakeStore::answer(const std::string& path, const Json& request) {
    if (path == "/v3/kv/txn") return transaction(request);
    if (path == "/v3/kv/range") {
        Json out = range(request);
        out["header"] = header();
        return out;
    }
    return lease(path, request);
}

bool FakeStore::holds(const Json& compare) const {
    auto const found = items_.find(bytes(compare, "key"));
    bool const there = found != items_.end();
    std::string const target = text(compare, "target"), result = text(compare, "result");
    if (target == "MOD") return (there ? found->second.changed : 0) == number(compare, "mod_revision");
    if (target == "VALUE") return there && found->second.value == bytes(compare, "value");
    return result == "GREATER" ? there : result == "EQUAL" && !there;
}

void FakeStore::put(const Json& request, u64 revision) {
    std::string const key = bytes(request, "key");
    Item& item = items_[key];
    item.value = bytes(request, "value");
    if (item.created == 0) item.created = revision;
    item.changed = revision;
    if (!flag(request, "ignore_lease")) item.lease = number(request, "lease");
    events_.push_back({revision, key, item});
}

u64 FakeStore::remove(const Json& request, u64 revision) {
    u64 removed = 0;
    for (auto at = items_.begin(); at != items_.end();) {
        if (!covers(request, at->first)) {
            ++at;
            continue;
        }
        events_.push_back({revision, at->first, std::nullopt});
        at = items_.erase(at);
        ++removed;
    }
    return removed;
}

Json FakeStore::range(const Json& request) const {
    Json out = Json::object();
    for (auto const& [key, item] : items_)
        if (covers(request, key))
            out["kvs"].push_back(Json{{"key", to_padded_base64(key)},
                                      {"value", to_padded_base64(item.value)},
                                      {"create_revision", quoted(item.created)},
                                      {"mod_revision", quoted(item.changed)},
                                      {"lease", quoted(item.lease)}});
    return out;
}

Json FakeStore::transaction(const Json& request) {
    bool all = true;
    for (const Json& compare : member(request, "compare")) all = all && holds(compare);
    const Json& list = member(request, all ? "success" : "failure");
    for (const Json& operation : list) {
        u64 const lease = number(member(operation, "request_put"), "lease");
        if (lease != 0 && !leases_.contains(lease))
            return Json{{"code", 5}, {"error", "etcdserver: requested lease not found"}};
    }
    u64 const next = revision_ + 1;
    Json responses = Json::array();
    for (const Json& operation : list) {
        bool changed = false;
        if (operation.contains("request_range")) {
            responses.push_back(Json{{"response_range", range(operation["request_range"])}});
            continue;
        }
        if (operation.contains("request_put")) {
            put(operation["request_put"], next);
            changed = true;
        } else {
            changed = remove(member(operation, "request_delete_range"), next) != 0;
        }
        if (changed) revision_ = next;
        responses.push_back(Json::object());
    }
    return Json{{"header", header()}, {"succeeded", all}, {"responses", std::move(responses)}};
}

Json FakeStore::lease(const std::string& path, const Json& request) {
    u64 const id = number(request, "ID");
    Json out{{"header", header()}, {"ID", quoted(id)}};
    if (path == "/v3/lease/grant") {
        if (!leases_.insert(id).second) return Json{{"code", 9}, {"error", "etcdserver: lease already exists"}};
        return out;
    }
    if (path == "/v3/lease/keepalive") {
        if (leases_.contains(id)) out["TTL"] = "3";
        return Json{{"result", std::move(out)}};
    }
    if (!leases_.contains(id)) return Json{{"code", 5}, {"error", "etcdserver: requested lease not found"}};
    end_lease(id);
    return out;
}

void FakeStore::end_lease(u64 lease) {
    leases_.erase(lease);
    u64 const next = revision_ + 1;
    for (auto at = items_.begin(); at != items_.end();) {
        if (at->second.lease != lease) {
            ++at;
            continue;
        }
        events_.push_back({next, at->first, std::nullopt});
        at = items_.erase(at);
        revision_ = next;
    }
}

std::string FakeStore::told_from(const Json& watch, u64& revision) const {
    Json result{{"header", header()}};
    if (revision <= compacted_) {
        result["canceled"] = true;
        result["compact_revision"] = quoted(compacted_);
        return Json{{"result", std::move(result)}}.dump() + "\n";
    }
    for (const Event& event : events_) {
        if (event.revision < revision || !covers(watch, event.key)) continue;
        Json item{{"key", to_padded_base64(event.key)}, {"mod_revision", quoted(event.revision)}};
        if (event.item) {
            item["value"] = to_padded_base64(event.item->value);
            item["create_revision"] = quoted(event.item->created);
        }
        result["events"].push_back(Json{{"type", event.item ? "PUT" : "DELETE"}, {"kv", std::move(item)}});
    }
    if (!result.contains("events")) return {};
    revision = revision_ + 1;
    return Json{{"result", std::move(result)}}.dump() + "\n";
}

// --- the member
// --------------------------------------------------------------------------------------------------------------

namespace {

struct Request {
    std::string path;
    Json body;
};

Task<Result<Request>> read_request(Connection* connection) {
    Buffer room = Buffer::allocate(64 * k_kib);
    std::string text;
    for (;;) {
        usize const head = text.find("\r\n\r\n");
        if (head != std::string::npos) {
            usize const length = std::stoul(text.substr(text.find("Content-Length: ") + 16));
            if (text.size() >= head + 4 + length) {
                usize const path = text.find(' ') + 1;
                co_return Request{text.substr(path, text.find(' ', path) - path),
                                  Json::parse(text.substr(head + 4, length))};
            }
        }
        CO_TRY(usize const came, co_await connection->read(room, 0, 1));
        text += as_text(room.bytes().first(came));
    }
}

Task<Result<void>> write_text(Connection* connection, std::string text) {
    co_return co_await connection->write(Buffer::copy_of(as_bytes(text)));
}

Task<Result<void>> serve_watch(Env* env, FakeStore* store, Connection* connection, Json watch) {
    CO_TRY_VOID(co_await write_text(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
    u64 revision = number(watch, "start_revision");
    for (;;) {
        std::string const line = store->told_from(watch, revision);
        if (line.empty()) {
            co_await env->clock.sleep(5_ms);
            continue;
        }
        std::string const digits = hex64(line.size());
        CO_TRY_VOID(co_await write_text(connection, digits + "\r\n" + line + "\r\n"));
    }
}

Task<void> serve(Env* env, FakeMember* self, std::unique_ptr<Connection> connection) {
    for (;;) {
        auto request = co_await read_request(connection.get());
        if (!request) co_return;
        if (request->path == "/v3/watch") {
            (void)co_await serve_watch(env, &self->store, connection.get(), request->body.at("create_request"));
            co_return;
        }
        Fate const fate = self->fate ? self->fate(request->path, request->body) : Fate::kArrives;
        if (fate == Fate::kLost) co_return;
        if (fate == Fate::kLingers) {
            self->lingering.emplace_back(request->path, request->body);
            co_await env->clock.sleep(60_s);
            co_return;
        }
        Json answer = self->store.answer(request->path, request->body);
        if (fate == Fate::kAnswerLost) co_return;
        if (self->change) self->change(request->path, answer);
        std::string const body = answer.dump();
        std::string const status = answer.contains("code") ? "400 Bad Request" : "200 OK";
        auto const written = co_await write_text(
            connection.get(),
            "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
        if (!written) co_return;
    }
}

}  // namespace

Task<void> FakeMember::run(Env* env, FakeMember* self, Address at) {
    auto listener = env->network.listen(at, {});
    CORELET_ASSERT(listener.has_value());
    Scope scope(env->executor);
    for (;;) {
        auto connection = co_await (*listener)->accept();
        if (connection) scope.spawn(serve(env, self, *std::move(connection)));
    }
}

void FakeMember::release() {
    for (auto const& [path, request] : std::exchange(lingering, {})) (void)store.answer(path, request);
}

}  // namespace corelet::etcd
