// history_check FILE: whether what real clients did to blocks of a volume and were told is linearizable, block by
// block, by the checker that judges simulated runs. Written by tests/system/history.py, one event a line, in any
// order:
//
//     begin ID write BLOCK FIRST_SECTOR SECTORS VALUE TIME     VALUE 0: zeroes
//     begin ID read BLOCK TIME
//     end ID TIME [VALUE of each sector, if it is a read]      without one: nobody knows
//
// Times are nanoseconds of one clock; a beginning is stamped before the request leaves, an end after the answer
// came. Exit code 0: linearizable; 1: not; 2: no such file, or not one of these.
#include <algorithm>
#include <fstream>  // host: a tool reads a file
#include <iostream>
#include <sstream>

#include "tests/mesh/block_history.h"

namespace corelet {
namespace {

struct Recorded {
    bool is_read = false;
    u64 block = 0, first = 0, sectors = k_history_sectors, value = 0;
    u64 begun = 0;
    u64 ended = 0;
    BlockState seen{};
};
using Recording = std::map<std::string, Recorded>;

bool take_begin(std::istringstream& in, const std::string& id, Recording* out) {
    std::string what;
    Recorded operation;
    in >> what >> operation.block;
    operation.is_read = what == "read";
    if (what == "write")
        in >> operation.first >> operation.sectors >> operation.value;
    else if (what != "read")
        return false;
    bool const sound = operation.sectors > 0 && operation.first < k_history_sectors &&
                       operation.sectors <= k_history_sectors - operation.first;
    return in >> operation.begun && sound && out->emplace(id, operation).second;
}

bool take_end(std::istringstream& in, const std::string& id, Recording* out) {
    auto const at = out->find(id);
    if (at == out->end() || at->second.ended != 0) return false;
    Recorded& operation = at->second;
    in >> operation.ended;
    for (usize i = 0; operation.is_read && i < k_history_sectors; ++i) in >> operation.seen[i];
    return static_cast<bool>(in) && operation.ended >= operation.begun && operation.ended != 0;
}

// False, and which line, if it is not a history.
bool read_recording(std::istream& file, Recording* out, u64* line_number) {
    std::vector<std::string> ends;  // their beginnings may stand behind them
    std::vector<u64> numbers;
    for (std::string line; std::getline(file, line);) {
        ++*line_number;
        if (line.empty() || line.starts_with('#')) continue;
        if (line.starts_with("end ")) {
            ends.push_back(line.substr(4));
            numbers.push_back(*line_number);
            continue;
        }
        std::istringstream in(line);
        std::string word, id;
        in >> word >> id;
        if (word != "begin" || !take_begin(in, id, out)) return false;
    }
    for (usize i = 0; i < ends.size(); ++i) {
        std::istringstream in(ends[i]);
        std::string id;
        in >> id;
        *line_number = numbers[i];
        if (!take_end(in, id, out)) return false;
    }
    return true;
}

struct Event {
    u64 time = 0;
    bool is_end = false;
    const Recorded* operation = nullptr;
    const std::string* id = nullptr;
};

// What is stamped alike overlaps: beginnings go first.
std::vector<Event> in_order(const Recording& recording) {
    std::vector<Event> events;
    for (const auto& [id, operation] : recording) {
        events.push_back({operation.begun, false, &operation, &id});
        if (operation.ended != 0) events.push_back({operation.ended, true, &operation, &id});
    }
    std::ranges::sort(events, {}, [](const Event& e) { return std::tuple(e.time, e.is_end, *e.id); });
    return events;
}

int check(const Recording& recording) {
    std::map<u64, BlockHistory> blocks;
    std::map<const Recorded*, usize> handles;
    std::map<u64, u64> open;
    u64 at = 0, overlapping = 0, without_end = 0;
    for (const Event& event : in_order(recording)) {
        const Recorded& operation = *event.operation;
        BlockHistory& history = blocks[operation.block];
        ++at;
        if (!event.is_end) {
            std::string const note = "by " + *event.id;
            handles[&operation] = operation.is_read ? history.begin_read(at, note)
                                                    : history.begin_write(operation.first, operation.sectors,
                                                                          operation.value, at, note);
            if (operation.ended == 0)
                ++without_end;
            else if (open[operation.block]++ > 0)
                ++overlapping;
            continue;
        }
        --open[operation.block];
        if (operation.is_read)
            history.end_read(handles.at(&operation), operation.seen, at);
        else
            history.end_write(handles.at(&operation), at);
    }
    int violations = 0;
    for (const auto& [block, history] : blocks) {
        auto const found = history.judge();
        if (!found) continue;
        ++violations;
        std::cout << "block " << block << ": " << *found << "\n";
    }
    std::cout << recording.size() << " operations on " << blocks.size() << " blocks, " << overlapping
              << " began beside another one, " << without_end
              << " without an end: " << (violations == 0 ? "linearizable" : "NOT linearizable") << "\n";
    return violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace corelet

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: history_check FILE\n";
        return 2;
    }
    std::ifstream file(argv[1]);  // host: a tool reads a file
    corelet::Recording recording;
    corelet::u64 line = 0;
    if (!file || !corelet::read_recording(file, &recording, &line) || recording.empty()) {
        std::cerr << "'" << argv[1] << "' is not a history (line " << line << ")\n";
        return 2;
    }
    return corelet::check(recording);
}
