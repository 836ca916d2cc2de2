// Whether all chunks that a volume refers to are whole and at home; and making them so.
#include "node/volume_care.h"

#include <algorithm>

#include "node/admin_arguments.h"

namespace corelet {

namespace {

constexpr u64 k_chunks_a_check = 256;
constexpr u64 k_chunks_a_verify = 32;  // each is read whole
constexpr usize k_chunks_a_mend = 64;

Json places_json(const std::vector<ChunkFinding::Place>& places) {
    Json out = Json::array();
    for (const auto& place : places)
        out.push_back(Json{{"corelet", place.corelet.is_zero() ? Json() : Json(to_string(place.corelet))},
                           {"position", place.position},
                           {"damaged", place.damaged}});
    return out;
}

bool is_whole(const ChunkFinding& finding, bool everywhere) {
    return finding.lacking.empty() && finding.unseen.empty() && (!everywhere || finding.strays.empty());
}

Json finding_json(const ChunkFinding& finding) {
    return Json{{"chunk", finding.chunk.seq},
                {"survivors", finding.survivors},
                {"fragment_bytes", u64{finding.blocks} * k_block_bytes},
                {"lacking", places_json(finding.lacking)},
                {"unseen", places_json(finding.unseen)},
                {"strays", places_json(finding.strays)}};
}

ChunkCare::Request request_for(const OwnedVolume& volume, const Json& arguments, bool everywhere) {
    return {PoolId(volume.record.pool()), SpaceId(volume.record.space()), arguments.value("verify", false),
            everywhere};
}

// Of which nobody who was asked has anything: all others are asked too.
Task<Result<std::vector<ChunkFinding>>> look_further(ChunkCare* care, ChunkCare::Request request,
                                                     std::vector<ChunkFinding> findings) {
    std::vector<u64> lost;
    for (const ChunkFinding& finding : findings)
        if (finding.blocks == 0) lost.push_back(finding.chunk.seq);
    if (lost.empty() || request.everywhere) co_return findings;
    request.everywhere = true;
    request.verify = false;
    CO_TRY(auto again, co_await care->look(request, std::move(lost)));
    for (ChunkFinding& each : again)
        for (ChunkFinding& finding : findings)
            if (finding.chunk == each.chunk) finding = std::move(each);
    co_return findings;
}

std::vector<u64> chunks_argument(const Json& arguments) {
    std::vector<u64> out;
    auto const found = arguments.find("chunks");
    if (found == arguments.end() || !found->is_array()) return out;
    for (const Json& seq : *found)
        if (seq.is_number_unsigned()) out.push_back(seq.get<u64>());
    return out;
}

// What the volume refers to no more since is none of its concern.
Task<Result<std::vector<u64>>> still_live(NodeServices& node, const OwnedVolume* volume, std::vector<u64> seqs) {
    std::ranges::sort(seqs);
    std::vector<u64> live;
    if (seqs.empty()) co_return live;
    u64 after = seqs.front() - 1;
    while (after < seqs.back()) {
        Json request{{"name", volume->record.name()}, {"after", after}, {"limit", 4096}};
        CO_TRY(Json const answer, co_await ask_owner(node, volume->owner, "volume.chunks.own", std::move(request)));
        auto const some = chunks_argument(answer);
        for (u64 seq : some)
            if (std::ranges::binary_search(seqs, seq)) live.push_back(seq);
        if (some.empty() || answer.value("left", u64{0}) == 0) break;
        after = some.back();
    }
    co_return live;
}

void add_outcomes(const std::vector<ChunkCare::Outcome>& outcomes, const std::map<u64, u64>& bytes, Json& out) {
    for (const auto& outcome : outcomes) {
        if (outcome.done) {
            out["done"] = out["done"].get<u64>() + 1;
            out["bytes"] = out["bytes"].get<u64>() + bytes.at(outcome.seq);
            continue;
        }
        CoreletId const id = outcome.place.corelet;
        out["not_done"].push_back(Json{{"chunk", outcome.seq},
                                       {"corelet", id.is_zero() ? Json() : Json(to_string(id))},
                                       {"position", outcome.place.position},
                                       {"why", outcome.why}});
    }
}

}  // namespace

Task<Result<Json>> volume_check(NodeServices& node, Json arguments) {
    std::string const name = text_argument(arguments, "name");
    CO_TRY(OwnedVolume const volume, co_await find_owned_volume(node, name));
    bool const everywhere = arguments.value("everywhere", false), verify = arguments.value("verify", false);
    Json request{{"name", name},
                 {"after", number_argument(arguments, "after")},
                 {"limit", verify ? k_chunks_a_verify : k_chunks_a_check}};
    CO_TRY(Json const answer, co_await ask_owner(node, volume.owner, "volume.chunks.own", std::move(request)));
    auto const seqs = chunks_argument(answer);
    ChunkCare care(node.env, *node.rpc, *node.maps);
    CO_TRY(auto looked, co_await care.look(request_for(volume, arguments, everywhere), seqs));
    Json found = Json::array();
    u64 fragments = 0;
    for (const ChunkFinding& finding : looked) {
        fragments += finding.present.size() + finding.lacking.size();
        if (!is_whole(finding, everywhere)) found.push_back(finding_json(finding));
    }
    bool const all = looked.size() == seqs.size() && answer.value("left", u64{0}) == 0;
    co_return Json{{"name", name},
                   {"checked", looked.size()},
                   {"fragments", fragments},
                   {"total", answer.value("total", u64{0})},
                   {"next", all || looked.empty() ? Json() : Json(looked.back().chunk.seq)},
                   {"found", std::move(found)}};
}

// Looks once more first: healing goes on meanwhile, and so does the volume.
Task<Result<Json>> volume_mend(NodeServices& node, Json arguments) {
    CO_TRY(OwnedVolume const volume, co_await find_owned_volume(node, text_argument(arguments, "name")));
    auto const asked = chunks_argument(arguments);
    if (asked.size() > k_chunks_a_mend)
        co_return fail(Code::kInvalid, "at most " + std::to_string(k_chunks_a_mend) + " chunks at once");
    bool const strays = arguments.value("strays", false);
    arguments["verify"] = false;  // what did not verify is known to its holder since
    ChunkCare::Request const request = request_for(volume, arguments, strays);
    ChunkCare care(node.env, *node.rpc, *node.maps);
    CO_TRY(auto const live, co_await still_live(node, &volume, asked));
    CO_TRY(auto looked, co_await care.look(request, live));
    Json out{{"done", u64{0}}, {"bytes", u64{0}}, {"not_done", Json::array()}};
    for (usize i = looked.size(); i < live.size(); ++i)
        out["not_done"].push_back(
            Json{{"chunk", live[i]}, {"corelet", Json()}, {"why", "the corelets were too busy to look"}});
    CO_TRY(auto findings, co_await look_further(&care, request, std::move(looked)));
    std::map<u64, u64> bytes;
    for (const ChunkFinding& finding : findings) bytes[finding.chunk.seq] = u64{finding.blocks} * k_block_bytes;
    auto const outcomes = strays ? co_await care.bring_home(request, std::move(findings))
                                 : co_await care.mend(request, std::move(findings));
    if (!outcomes) co_return std::unexpected(outcomes.error());
    add_outcomes(*outcomes, bytes, out);
    co_return out;
}

}  // namespace corelet
