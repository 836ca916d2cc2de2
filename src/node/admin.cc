// The commands of the command line, as the corelet carries them out.

#include "base/codec.h"
#include "base/json.h"
#include "base/mac.h"
#include "mesh/survival.h"
#include "node/admin_arguments.h"
#include "node/admin_commands.h"
#include "node/admin_pools.h"
#include "node/export_place.h"
#include "node/health_report.h"
#include "node/loss_budget.h"
#include "node/plan.h"
#include "node/status.h"
#include "node/volume_care.h"
#include "stream/stream_record.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr usize k_admin_reply_body_max = 64 * k_kib;  // a longer one goes as a payload
}  // namespace

Instant admin_patience(const NodeServices& node) {
    return node.env.clock.now() + 8_s;
}

Error no_quorum(Error error) {
    if (error.code == Code::kUnavailable || error.code == Code::kTimeout)
        error.message = "the catalog has no quorum, so nothing can be changed now; see `corelet status` (" +
                        error.message + ")";
    return error;
}

Task<Result<StoredVolume>> read_volume(NodeServices& node, std::string name) {
    auto const item = co_await node.catalog->get(volume_key(name), admin_patience(node));
    if (!item) co_return std::unexpected(no_quorum(item.error()));
    if (!*item)
        co_return fail(Code::kNotFound, "there is no volume '" + name + "'; `corelet volume ls` lists them");
    StoredVolume out{{}, (*item)->mod_revision};
    if (!out.record.ParseFromString((*item)->value))
        co_return fail(Code::kCorrupt, "the record of volume '" + name + "' does not parse");
    co_return out;
}

Reply admin_reply(std::string result) {
    bool const is_long = result.size() > k_admin_reply_body_max;
    pb::AdminReply message;
    message.set_result(std::move(result));
    Buffer bytes = encode_message(message);
    Reply out;
    if (is_long)
        out.payload = std::move(bytes);
    else
        out.body = std::move(bytes);
    return out;
}

Result<Json> parse_admin_reply(const Reply& reply) {
    Buffer const bytes = reply.payload.empty() ? reply.body : reply.payload.flatten();
    TRY(auto const answer, decode_message<pb::AdminReply>(bytes));
    Json parsed = Json::parse(answer.result(), nullptr, false);
    if (parsed.is_discarded() || !parsed.is_object()) return fail(Code::kCorrupt, "malformed answer");
    return parsed;
}

namespace {

Instant patience(const NodeServices& node) {
    return admin_patience(node);
}

// A corelet that has just begun learns the map within moments; a new mesh has somebody in it.
Task<void> await_map(NodeServices& node) {
    Instant const until = patience(node);
    while (node.maps->current()->corelets.empty() && node.env.clock.now() < until)
        co_await node.env.clock.sleep(20_ms);
}

// --- volumes
// ----------------------------------------------------------------------------------------------------------------

Task<Result<Json>> volume_create(NodeServices& node, Json arguments) {
    CO_TRY(VolumeWish const wish, volume_wish(arguments));
    const std::string& name = wish.name;
    const std::string& pool_name = wish.pool;
    u64 const size = wish.size_bytes;
    const auto map = node.maps->current();
    const mesh::Pool* const pool = map->find_pool(pool_name);
    if (!pool)
        co_return fail(Code::kNotFound, "there is no pool '" + pool_name + "'; make one: corelet pool create " +
                                            pool_name + " --redundancy rep:3");
    for (;;) {
        auto const counter = co_await node.catalog->get("counters/space", patience(node));
        if (!counter) co_return std::unexpected(no_quorum(counter.error()));
        u64 next = 1;
        if (*counter) next = Reader(as_bytes((*counter)->value)).get<u64>() + 1;
        pb::Volume volume;
        volume.set_name(name);
        volume.set_space(next);
        volume.set_size_bytes(size);
        volume.set_pool(pool->id.v);
        pb::Stream stream;
        stream.set_space(next);
        stream.set_pool(pool->id.v);
        Writer encoded;
        encoded.put(next);
        Transaction transaction;
        transaction.require_revision("counters/space", *counter ? (*counter)->mod_revision : Revision{})
            .require_missing(volume_key(name))
            .put("counters/space", std::string(as_text(encoded.bytes())))
            .put(volume_key(name), volume.SerializeAsString())
            .put(stream_key(SpaceId(next)), stream.SerializeAsString())
            .read(volume_key(name));
        auto const result = co_await node.catalog->commit(std::move(transaction), patience(node));
        if (!result) co_return std::unexpected(no_quorum(result.error()));
        if (result->succeeded) co_return Json{{"name", name}, {"size_bytes", size}, {"pool", pool_name}};
        if (result->find(volume_key(name)))
            co_return fail(Code::kExists, "there is a volume '" + name + "' already");
    }
}

// Changes a volume's record by compare-and-set.
Task<Result<pb::Volume>> change_volume(NodeServices& node, std::string name,
                                       std::function<Result<void>(pb::Volume&)> change) {
    for (;;) {
        CO_TRY(auto stored, co_await read_volume(node, name));
        CO_TRY_VOID(change(stored.record));
        Transaction transaction;
        transaction.require_revision(volume_key(name), stored.revision)
            .put(volume_key(name), stored.record.SerializeAsString());
        auto const result = co_await node.catalog->commit(std::move(transaction), patience(node));
        if (!result) co_return std::unexpected(no_quorum(result.error()));
        if (result->succeeded) co_return std::move(stored.record);
    }
}

// Of an attached volume that somebody serves.
std::optional<CoreletId> present_owner(const NodeServices& node, const pb::Volume& volume) {
    auto const streams = node.catalog->local_range(stream_key(SpaceId(volume.space()))).items;
    pb::Stream stream;
    if (streams.empty() || !stream.ParseFromString(streams.front().value) || stream.owner() == 0)
        return std::nullopt;
    CoreletId const owner(stream.owner());
    if (node.catalog->local_range(session_key(owner)).items.empty()) return std::nullopt;
    return owner;
}

// Nothing goes beyond this host unprotected, unless the operator said so.
Result<void> check_reach(const NodeServices& node, const Address& wanted) {
    if (wanted.is_local() || node.config.insecure) return {};
    return fail(Code::kDenied,
                wanted.to_string() +
                    " is beyond this host, and NBD clients there would be neither encrypted nor authenticated; "
                    "serve it at unix:PATH or 127.0.0.1:PORT, or make the corelets with --insecure");
}

// Taking a path over is for the same volume's next owner.
Result<void> check_path_is_free(const NodeServices& node, const AttachWish& wish) {
    if (wish.address->kind != Address::Kind::kUnix) return {};
    for (const KeyValue& item : node.catalog->local_range("volumes/").items) {
        pb::Volume other;
        if (!other.ParseFromString(item.value) || other.name() == wish.name || other.attached_to() == 0) continue;
        if (other.listen() != wish.listen && address_in_uri(other.uri()) != wish.address) continue;
        return fail(Code::kExists, "volume '" + other.name() + "' is served at " + wish.address->to_string() +
                                       "; choose another path, or detach that one: corelet volume detach " +
                                       other.name());
    }
    return {};
}

// Until the volume is served as this attachment wants it, or its owner says why it cannot be. `renewed`: the
// attachment is a new one.
Task<Result<Json>> await_served(NodeServices& node, pb::Volume volume, bool renewed) {
    std::string const name = volume.name();
    u64 const attachment = volume.attachment();
    Instant const until = node.env.clock.now() + 20_s;
    while (node.env.clock.now() < until) {
        auto const item = co_await node.catalog->get(volume_key(name), patience(node));
        bool const parsed = item && *item && volume.ParseFromString((*item)->value);
        bool const told = parsed && volume.attachment() == attachment && !volume.export_error().empty();
        if (told && (renewed || volume.uri().empty()))
            co_return fail(Code::kUnavailable, "volume '" + name +
                                                   "' cannot be reached there: " + volume.export_error() +
                                                   (volume.uri().empty() ? "" : "; it stays at " + volume.uri()) +
                                                   "; choose another address: corelet volume attach " + name +
                                                   " --nbd unix:PATH or HOST:PORT");
        if (parsed && !volume.uri().empty() && !volume.move_wanted()) {
            // The record may name where a corelet served it that has died since.
            auto const info = co_await volume_info(node, name);
            if (info && info->value("served", false) && info->value("uri", std::string()) == volume.uri())
                co_return Json{{"name", name},
                               {"uri", volume.uri()},
                               {"attached_to", to_string(CoreletId(volume.attached_to()))}};
        }
        co_await node.env.clock.sleep(50_ms);
    }
    co_return fail(Code::kTimeout, "volume '" + name + "' is attached but not served yet; `corelet volume info " +
                                       name + "` says what it waits for");
}

// Where the volume is to go, if that is said; a zero id otherwise.
Result<CoreletId> attach_place(const mesh::Map& map, const Json& arguments) {
    std::string const wanted = text_argument(arguments, "at");
    if (wanted.empty()) return CoreletId();
    TRY(CoreletId const at, corelet_argument(map, arguments, "at"));
    const mesh::Corelet* const chosen = map.find(at);
    if (chosen->role != mesh::Role::kStorage)
        return fail(Code::kInvalid, "corelet " + wanted + " is a witness and serves no volume");
    if (!chosen->takes_new())
        return fail(Code::kUnavailable, "corelet " + wanted + " is " +
                                            (chosen->cordoned ? "cordoned" : mesh::state_name(chosen->state())) +
                                            " and takes no volume; `corelet status` says which ones are up");
    if (!chosen->is_up())
        return fail(Code::kUnavailable, "corelet " + wanted + " is " + mesh::state_name(chosen->state()) +
                                            " and serves nothing; `corelet status` says which ones are up");
    return at;
}

Task<Result<Json>> volume_attach(NodeServices& node, Json arguments) {
    CO_TRY(AttachWish const wish, attach_wish(arguments));
    std::string const name = wish.name, listen = wish.listen;
    if (wish.address) {
        CO_TRY_VOID(check_reach(node, *wish.address));
        CO_TRY_VOID(check_path_is_free(node, wish));
    }
    CO_TRY(CoreletId const at, attach_place(*node.maps->current(), arguments));
    bool const here = at.is_zero();
    CoreletId const self = node.store->identity();
    bool const self_serves = node.config.role == mesh::Role::kStorage;
    CoreletId fallback = self;
    if (!self_serves)
        for (const mesh::Corelet& corelet : node.maps->current()->corelets)
            if (corelet.role == mesh::Role::kStorage && corelet.is_up()) fallback = corelet.id;
    bool renewed = false;
    auto const change = [=, &node, &renewed](pb::Volume& volume) -> Result<void> {
        bool const attached = volume.attached_to() != 0;
        bool const same_place = here || CoreletId(volume.attached_to()) == at;
        bool const same_listen = listen.empty() || listen == volume.listen();
        renewed = !attached || !same_place || !same_listen;
        if (!renewed) return {};
        // A new address alone moves nothing: whoever serves it goes on.
        CoreletId const stays =
            attached ? present_owner(node, volume).value_or(CoreletId(volume.attached_to())) : fallback;
        volume.set_attached_to((here ? stays : at).v);
        volume.set_attachment(volume.attachment() + 1);
        volume.set_move_wanted(attached);
        volume.set_listen_strict(!listen.empty());
        volume.clear_uri();
        volume.clear_export_error();
        if (!listen.empty()) volume.set_listen(listen);
        return {};
    };
    CO_TRY(pb::Volume volume, co_await change_volume(node, name, change));
    co_return co_await await_served(node, std::move(volume), renewed);
}

Task<Result<Json>> volume_detach(NodeServices& node, Json arguments) {
    std::string const name = text_argument(arguments, "name");
    auto const change = [](pb::Volume& volume) -> Result<void> {
        if (volume.attached_to() != 0) volume.set_attachment(volume.attachment() + 1);
        volume.set_attached_to(0);
        volume.set_move_wanted(false);
        volume.clear_uri();
        volume.clear_listen();
        volume.clear_listen_strict();
        volume.clear_export_error();
        return {};
    };
    CO_TRY(pb::Volume volume, co_await change_volume(node, name, change));
    std::string const key = stream_key(SpaceId(volume.space()));
    Instant const until = node.env.clock.now() + 10_s;
    while (node.env.clock.now() < until) {
        auto const item = co_await node.catalog->get(key, patience(node));
        pb::Stream stream;
        if (item && *item && stream.ParseFromString((*item)->value) && stream.owner() == 0)
            co_return Json{{"name", name}, {"detached", true}};
        co_await node.env.clock.sleep(50_ms);
    }
    co_return fail(Code::kTimeout, "volume '" + name + "' is detached; its last owner has not let go yet");
}

// A new door at a client's side; those before it are let in no more.
Task<Result<Json>> volume_door(NodeServices& node, Json arguments) {
    std::string const name = text_argument(arguments, "name");
    auto const change = [](pb::Volume& volume) -> Result<void> {
        volume.set_door(volume.door() + 1);
        return {};
    };
    CO_TRY(pb::Volume const volume, co_await change_volume(node, name, change));
    co_return Json{{"name", name}, {"door", volume.door()}, {"attached", volume.attached_to() != 0}};
}

Task<Result<Json>> volume_remove(NodeServices& node, Json arguments) {
    std::string const name = text_argument(arguments, "name");
    for (;;) {
        CO_TRY(auto const stored, co_await read_volume(node, name));
        if (stored.record.attached_to() != 0)
            co_return fail(Code::kConflict,
                           "volume '" + name + "' is attached; detach it first: corelet volume detach " + name);
        SpaceId const space(stored.record.space());
        auto const stream_item = co_await node.catalog->get(stream_key(space), patience(node));
        if (!stream_item) co_return std::unexpected(no_quorum(stream_item.error()));
        pb::Stream stream;
        if (*stream_item && stream.ParseFromString((*stream_item)->value) && stream.owner() != 0)
            co_return fail(Code::kConflict, "volume '" + name + "' is still owned by " +
                                                to_string(CoreletId(stream.owner())) + "; try again in a moment");
        Writer mark;
        mark.put(space);
        Transaction transaction;
        transaction.require_revision(volume_key(name), stored.revision)
            .require_revision(stream_key(space), *stream_item ? (*stream_item)->mod_revision : Revision{})
            .remove(volume_key(name))
            .remove(stream_key(space))
            .put(deleted_space_key(space), std::string(as_text(mark.bytes())));
        auto const result = co_await node.catalog->commit(std::move(transaction), patience(node));
        if (!result) co_return std::unexpected(no_quorum(result.error()));
        if (result->succeeded) co_return Json{{"removed", name}};
    }
}

}  // namespace

bool is_admin_key(const NodeConfig& config, std::string_view key) {
    return !config.admin_key.empty() && same_secret(as_bytes(config.admin_key), as_bytes(key));
}

Result<void> admit_command(const NodeConfig& config, const Request& request, const pb::AdminRequest& message) {
    if (request.vouched_for) return {};
    // What corelets ask each other for `status`, `events`, and what a volume refers to; it changes nothing.
    bool const asks = message.command() == "info" || message.command() == "events.own" ||
                      message.command() == "volume.runs.own" || message.command() == "volume.chunks.own" ||
                      message.command() == "volume.log.own";
    if (asks && request.from->role == PeerRole::kCorelet) return {};
    if (is_admin_key(config, message.key())) return {};
    std::string const why =
        message.key().empty()
            ? "commands over TCP need the admin key of the corelet's directory, and none was presented"
            : "the admin key that was presented is not that of this corelet";
    return fail(Code::kDenied, why +
                                   "; name a directory that holds it (admin.key): corelet --dir DIR --connect "
                                   "HOST:PORT ..., or use the corelet's own socket");
}

namespace {
// Looking after volumes, and looking ahead.
Task<Result<Json>> run_care_command(NodeServices& node, std::string name, Json arguments) {
    if (name == "volume.map") co_return co_await volume_map(node, std::move(arguments));
    if (name == "volume.check") co_return co_await volume_check(node, std::move(arguments));
    if (name == "volume.mend") co_return co_await volume_mend(node, std::move(arguments));
    if (name == "volume.log.check") co_return co_await volume_log_check(node, std::move(arguments));
    if (name == "volume.log.mend") co_return co_await volume_log_mend(node, std::move(arguments));
    if (name == "volume.log.own") co_return co_await own_volume_log(node, std::move(arguments));
    if (name == "volume.runs.own") co_return co_await own_volume_runs(node, std::move(arguments));
    if (name == "volume.chunks.own") co_return own_volume_chunks(node, arguments);
    if (name == "plan") co_return co_await plan_change(node, std::move(arguments));
    co_return fail(Code::kUnsupported, "there is no command '" + name + "'");
}

Task<Result<Json>> run_mesh_command(NodeServices& node, std::string name, Json arguments) {
    if (name == "corelet.drain") co_return co_await corelet_drain(node, std::move(arguments));
    if (name == "corelet.undrain") co_return co_await corelet_undrain(node, std::move(arguments));
    if (name == "corelet.departure") co_return co_await corelet_departure(node, std::move(arguments));
    if (name == "corelet.remove") co_return co_await corelet_remove(node, std::move(arguments));
    if (name == "corelet.cordon") co_return co_await corelet_cordon(node, std::move(arguments), true);
    if (name == "corelet.uncordon") co_return co_await corelet_cordon(node, std::move(arguments), false);
    if (name == "healing.pause") co_return co_await healing_pause(node, std::move(arguments));
    if (name == "healing.resume") co_return co_await healing_resume(node);
    if (name == "healing.limit") co_return co_await healing_limit(node, std::move(arguments));
    if (name == "token.create") co_return co_await token_create(node, std::move(arguments));
    if (name == "catalog.export") co_return co_await catalog_export(node);
    if (name == "catalog.check") co_return co_await catalog_check(node);
    if (name == "catalog.accept") co_return co_await catalog_accept(node);
    co_return co_await run_care_command(node, std::move(name), std::move(arguments));
}
}  // namespace

Task<Result<std::string>> run_command(NodeServices& node, std::string name, std::string encoded) {
    CO_TRY(Json arguments, parse_arguments(encoded));
    if (name != "info" && name != "status" && name != "events.own") co_await await_map(node);
    Result<Json> result = Json();
    if (name == "info") {
        co_return node_info(node).dump();
    } else if (name == "events.own") {
        co_return own_events(node, arguments).dump();
    } else if (name == "events") {
        result = co_await mesh_events(node, std::move(arguments));
    } else if (name == "status") {
        result = co_await mesh_status(node);
    } else if (name == "volume.info") {
        result = co_await volume_info(node, text_argument(arguments, "name"));
    } else if (name == "pool.create") {
        result = co_await pool_create(node, std::move(arguments));
    } else if (name == "pool.rm") {
        result = co_await pool_remove(node, std::move(arguments));
    } else if (name == "pool.change") {
        result = co_await pool_change(node, std::move(arguments));
    } else if (name == "volume.create") {
        result = co_await volume_create(node, std::move(arguments));
    } else if (name == "volume.attach") {
        result = co_await volume_attach(node, std::move(arguments));
    } else if (name == "volume.detach") {
        result = co_await volume_detach(node, std::move(arguments));
    } else if (name == "volume.door") {
        result = co_await volume_door(node, std::move(arguments));
    } else if (name == "volume.rm") {
        result = co_await volume_remove(node, std::move(arguments));
    } else {
        result = co_await run_mesh_command(node, name, std::move(arguments));
    }
    if (!result) co_return std::unexpected(result.error());
    co_return result->dump();
}

}  // namespace corelet
