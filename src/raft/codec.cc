#include "raft/codec.h"

#include "base/assert.h"
#include "raft/codec_parts.h"

namespace corelet::raft {
namespace {

// Fits one journal batch and one message; far above every bound of the options.
constexpr usize k_record_bytes_max = usize{1} << 30;

template <class Proto>
bool parse(Proto& proto, Bytes bytes) {
    return bytes.size() <= k_record_bytes_max && proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

template <class Proto>
std::string serialize(const Proto& proto) {
    std::string out;
    CORELET_ASSERT(proto.ByteSizeLong() <= k_record_bytes_max && proto.SerializeToString(&out));
    return out;
}

}  // namespace

Payload encode_configuration(const Configuration& configuration) {
    CORELET_ASSERT(configuration.well_formed());
    pb::Configuration out;
    put(&out, configuration);
    return Payload(serialize(out));
}

Result<Configuration> decode_configuration(const Payload& payload) {
    pb::Configuration in;
    if (!parse(in, payload.bytes())) return fail(Code::kInvalid, "configuration entry does not parse");
    Configuration configuration = get(in);
    if (!configuration.well_formed()) return fail(Code::kInvalid, "configuration is not well formed");
    return configuration;
}

std::string encode(const Persist& batch) {
    pb::Record out;
    put(out.mutable_hard_state(), batch.hard_state);
    if (batch.snapshot) put(out.mutable_snapshot(), *batch.snapshot);
    out.set_reset_log(batch.reset_log);
    out.set_compact_to(batch.compact_to);
    out.set_truncate_from(batch.truncate_from);
    for (const Entry& entry : batch.entries) put(out.add_entries(), entry);
    return serialize(out);
}

Result<Persist> decode_persist(Bytes bytes) {
    pb::Record in;
    if (!parse(in, bytes)) return fail(Code::kInvalid, "journal record does not parse");
    Persist batch;
    batch.hard_state = get(in.hard_state());
    if (in.has_snapshot()) {
        batch.snapshot = get(in.snapshot());
        if (!batch.snapshot->verifies()) return fail(Code::kCorrupt, "snapshot does not verify");
    }
    batch.reset_log = in.reset_log();
    batch.compact_to = in.compact_to();
    batch.truncate_from = in.truncate_from();
    batch.entries = get_entries(in.entries());
    for (usize i = 0; i < batch.entries.size(); ++i) {
        const Entry& entry = batch.entries[i];
        if (!entry.verifies()) return fail(Code::kCorrupt, "log entry does not verify", entry.at.index);
        if (i > 0 && batch.entries[i - 1].at.index + 1 != entry.at.index) {
            return fail(Code::kInvalid, "log entries do not follow each other", entry.at.index);
        }
    }
    return batch;
}

}  // namespace corelet::raft
