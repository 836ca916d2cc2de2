#include "tests/mesh/key_history.h"

#include <algorithm>

#include "base/assert.h"
#include "tests/mesh/linearize.h"

namespace corelet {

namespace {

std::string show_value(u64 value) {
    return value == 0 ? "nothing" : std::to_string(value);
}

constexpr std::array<const char*, k_history_keys> k_names{"a", "b"};

std::string show_request(const KeyRequest& request) {
    std::string out;
    for (usize key = 0; key < k_history_keys; ++key) {
        const KeyCondition& condition = request.conditions[key];
        if (condition.kind == KeyCondition::Kind::kNone) continue;
        out += out.empty() ? "if " : " and ";
        out += std::string(k_names[key]) +
               (condition.kind == KeyCondition::Kind::kIs ? " is " + show_value(condition.value) : " exists");
    }
    for (usize key = 0; key < k_history_keys; ++key)
        if (auto const value = request.writes[key])
            out += std::string(out.empty() ? "" : " ") + (*value == 0 ? "delete " : "put ") + k_names[key] +
                   (*value == 0 ? "" : "=" + std::to_string(*value));
    for (usize key = 0; key < k_history_keys; ++key)
        if (request.reads[key]) out += std::string(out.empty() ? "" : " ") + "read " + k_names[key];
    return out;
}

std::string show_answer(const KeyRequest& request, const KeyAnswer& answer) {
    std::string out = answer.succeeded ? "done" : "refused";
    if (answer.revision != 0) out += " at revision " + std::to_string(answer.revision);
    for (usize key = 0; key < k_history_keys; ++key)
        if (request.reads[key])
            out += std::string(", ") + k_names[key] + " holds " + show_value(answer.seen[key].value);
    return out;
}

}  // namespace

void KeyHistory::wrong(std::string what) {
    if (!trouble_) trouble_ = std::move(what);
}

usize KeyHistory::begin(KeyRequest request, u64 at, std::string note) {
    CORELET_ASSERT(at != 0 && (request.is_write() || request.has_reads()));
    usize const operation = operations_.size();
    for (auto const& value : request.writes) {
        if (!value || *value == 0) continue;
        auto const [writer, fresh] = writer_of_.try_emplace(*value, operation);
        CORELET_ASSERT(writer->second == operation);
    }
    KeyOperation begun;
    begun.request = std::move(request);
    begun.begun = at;
    begun.note = std::move(note);
    operations_.push_back(std::move(begun));
    return operation;
}

void KeyHistory::end(usize operation, const KeyAnswer& answer, u64 at) {
    CORELET_ASSERT(operations_[operation].ended == 0 && !operations_[operation].predecessor);
    KeyRequest const request = operations_[operation].request;
    operations_[operation].answer = answer;
    operations_[operation].ended = at;
    if (request.is_write() && answer.succeeded && answer.revision != 0) written_at(operation, answer.revision);
    for (usize key = 0; key < k_history_keys; ++key)
        if (request.reads[key]) learn(key, answer.seen[key]);
    if (!request.is_write() || !request.has_reads()) return;
    KeyOperation read;
    read.request.reads = std::exchange(operations_[operation].request.reads, {});
    read.answer.seen = answer.seen;
    read.begun = operations_[operation].begun;
    read.ended = at;
    read.predecessor = operation;
    read.note = operations_[operation].note;
    operations_.push_back(std::move(read));
}

// One transaction has one revision, and a revision is of one transaction.
void KeyHistory::written_at(usize operation, u64 revision) {
    auto const [known, fresh] = revision_of_.try_emplace(operation, revision);
    auto const [writer, first] = written_at_.try_emplace(revision, operation);
    if (known->second != revision)
        wrong("what was written once was seen at two revisions, " + std::to_string(known->second) + " and " +
              std::to_string(revision) + ": " + show_request(operations_[operation].request));
    if (writer->second != operation)
        wrong("two transactions have revision " + std::to_string(revision) + ": " +
              show_request(operations_[writer->second].request) + ", and " +
              show_request(operations_[operation].request));
}

void KeyHistory::learn(usize key, const KeySeen& seen) {
    if (seen.value == 0) return;
    auto const writer = writer_of_.find(seen.value);
    if (writer == writer_of_.end() || operations_[writer->second].request.writes[key] != seen.value) {
        wrong("key " + std::string(k_names[key]) + " holds " + std::to_string(seen.value) +
              ", which nobody has put there");
        return;
    }
    const KeyOperation& operation = operations_[writer->second];
    if (operation.ended != 0 && !operation.answer.succeeded)
        wrong("what was refused was seen all the same: " + show_request(operation.request));
    if (seen.revision != 0) written_at(writer->second, seen.revision);
}

void KeyHistory::learn_view(u64 revision, const std::array<KeySeen, k_history_keys>& seen) {
    for (usize key = 0; key < k_history_keys; ++key) {
        learn(key, seen[key]);
        if (seen[key].value == 0) continue;
        for (auto at = written_at_.upper_bound(seen[key].revision);
             at != written_at_.end() && at->first <= revision; ++at)
            if (operations_[at->second].request.writes[key])
                wrong("a view of revision " + std::to_string(revision) + " holds " +
                      std::to_string(seen[key].value) + " of revision " + std::to_string(seen[key].revision) +
                      " and not what was written at " + std::to_string(at->first) + ": " +
                      show_request(operations_[at->second].request));
    }
}

u64 KeyHistory::revision_of(usize operation) const {
    auto const found = revision_of_.find(operation);
    return found == revision_of_.end() ? 0 : found->second;
}

std::optional<std::string> KeyHistory::judge() const {
    if (trouble_) return trouble_;
    KeyModel const model(*this);
    auto const found = Linearizer(model).judge();
    return found ? std::optional(found->text) : std::nullopt;
}

// --- the model
// ----------------------------------------------------------------------------------------------------------

KeyModel::KeyModel(const KeyHistory& history) {
    gather(history);
    // The last known write at or before a revision.
    auto const last = [&](auto end) { return end == history.written_at_.begin() ? 0 : std::prev(end)->first; };
    for (usize i = 0; i < history.operations_.size(); ++i) {
        const KeyOperation& recorded = history.operations_[i];
        Operation operation{&recorded, recorded.begun, recorded.ended, history.revision_of(i), {}, {}};
        if (operation.revision != 0) {
            operation.last_before = last(history.written_at_.lower_bound(operation.revision));
        } else if (recorded.ended != 0 && recorded.answer.revision != 0) {
            operation.last_before = last(history.written_at_.upper_bound(recorded.answer.revision));
        }
        for (usize key = 0; key < k_history_keys; ++key) {
            auto const& value = recorded.request.writes[key];
            operation.tells[key] = value && (*value == 0 || told_.contains(*value));
        }
        operations_.push_back(operation);
    }
}

void KeyModel::gather(const KeyHistory& history) {
    for (const KeyOperation& operation : history.operations_) {
        bool const refused = operation.ended != 0 && !operation.answer.succeeded;
        for (usize key = 0; key < k_history_keys; ++key) {
            const KeyCondition& condition = operation.request.conditions[key];
            bool const read = operation.request.reads[key] && operation.ended != 0;
            if (read) told_.insert(operation.answer.seen[key].value);
            if (condition.kind == KeyCondition::Kind::kIs) told_.insert(condition.value);
            bool const none = condition.kind == KeyCondition::Kind::kNone;
            if (!none && !read && (refused || condition.kind == KeyCondition::Kind::kExists)) guessed_[key] = true;
        }
    }
}

bool KeyModel::step(State& state, const Operation& operation) {
    const KeyRequest& request = operation.recorded->request;
    const KeyAnswer& answer = operation.recorded->answer;
    bool holds = true;
    for (usize key = 0; key < k_history_keys; ++key) {
        const KeyCondition& condition = request.conditions[key];
        if (condition.kind == KeyCondition::Kind::kIs) holds &= state.values[key] == condition.value;
        if (condition.kind == KeyCondition::Kind::kExists) holds &= state.values[key] != 0;
    }
    if (holds != (operation.ended == 0 || answer.succeeded)) return false;
    if (operation.last_before && *operation.last_before != state.revision) return false;
    if (is_read(operation)) {
        for (usize key = 0; key < k_history_keys; ++key)
            if (request.reads[key] && answer.seen[key].value != state.values[key]) return false;
        return true;
    }
    for (usize key = 0; key < k_history_keys; ++key)
        if (request.writes[key]) state.values[key] = *request.writes[key];
    if (operation.revision != 0) state.revision = operation.revision;
    return true;
}

bool KeyModel::is_read(const Operation& operation) {
    return !operation.recorded->request.is_write() ||
           (operation.ended != 0 && !operation.recorded->answer.succeeded);
}

// What was put and never seen was never there, unless somebody's answer depends on what was there and does not
// tell it.
bool KeyModel::may_be_left_out(const Operation& operation) const {
    if (operation.revision != 0) return false;
    for (usize key = 0; key < k_history_keys; ++key)
        if (operation.recorded->request.writes[key] && (operation.tells[key] || guessed_[key])) return false;
    return true;
}

// The same conditions, and to the same keys a value each that nobody ever saw, or none.
bool KeyModel::alike(const Operation& a, const Operation& b) {
    const KeyRequest& one = a.recorded->request;
    const KeyRequest& other = b.recorded->request;
    if (a.revision != 0 || b.revision != 0 || one.conditions != other.conditions) return false;
    for (usize key = 0; key < k_history_keys; ++key) {
        if (one.writes[key].has_value() != other.writes[key].has_value()) return false;
        if (a.tells[key] != b.tells[key]) return false;
        if (a.tells[key] && one.writes[key] != other.writes[key]) return false;
    }
    return true;
}

std::string KeyModel::show(const State& state) {
    std::string out = "a=" + show_value(state.values[0]) + " b=" + show_value(state.values[1]);
    if (state.revision != 0) out += " of revision " + std::to_string(state.revision);
    return out;
}

std::string KeyModel::show(const Operation& operation) {
    const KeyOperation& recorded = *operation.recorded;
    std::string out = show_request(recorded.request);
    if (recorded.predecessor) out += " on its return";
    if (recorded.ended != 0) out += ": " + show_answer(recorded.request, recorded.answer);
    if (recorded.ended == 0 && operation.revision != 0) out += " of revision " + std::to_string(operation.revision);
    return out + " (" + std::to_string(operation.begun) + " to " +
           (operation.ended == 0 ? "?" : std::to_string(operation.ended)) + ") " + recorded.note;
}

std::optional<std::string> RevisionOrder::end(u64 begun, u64 revision, bool wrote) {
    highest_ = std::max(highest_, revision);
    if (revision > begun || (revision == begun && !wrote)) return std::nullopt;
    return std::string(wrote ? "a write" : "a read") + " was answered with revision " + std::to_string(revision) +
           ", though " + std::to_string(begun) + " was known before it began";
}

}  // namespace corelet
