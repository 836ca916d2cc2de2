// Membership cores on a simulated network. bench_membership CORELETS MINUTES LOSS_PERCENT: so long with so much
// loss, then one death after the other. Prints what it cost, who was confirmed wrongly, and how long the deaths
// took.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "mesh/membership_testing.h"

namespace {

using namespace corelet;
using namespace corelet::mesh;

constexpr unsigned k_deaths_max = 20;

struct Times {
    std::vector<i64> ms;
    [[nodiscard]] i64 at(usize percent) {
        std::sort(ms.begin(), ms.end());
        return ms.empty() ? -1 : ms[std::min(ms.size() - 1, ms.size() * percent / 100)];
    }
};

// The first word of each kind on who died last.
void note_first(const std::vector<Meshes::Verdict>& verdicts, CoreletId dead, Instant death, Times& times) {
    auto const first = std::find_if(verdicts.begin(), verdicts.end(),
                                    [&](const auto& v) { return v.peer == dead && v.at >= death; });
    if (first != verdicts.end()) times.ms.push_back((first->at - death).ms());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: bench_membership CORELETS MINUTES LOSS_PERCENT\n");
        return 2;
    }
    auto const corelets = static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10));
    i64 const minutes = std::strtol(argv[2], nullptr, 10);
    Meshes mesh(corelets);
    mesh.run(10_s);
    mesh.loss_percent = std::strtoull(argv[3], nullptr, 10);
    u64 const messages = mesh.sent, bytes = mesh.bytes_sent;
    mesh.run(1_min * minutes);
    double const corelet_seconds = static_cast<double>(corelets) * static_cast<double>(minutes) * 60;
    double const rate = static_cast<double>(mesh.sent - messages) / corelet_seconds;
    double const byte_rate = static_cast<double>(mesh.bytes_sent - bytes) / corelet_seconds;
    usize const wrong = mesh.confirmed.size();
    Times suspected, confirmed;
    for (unsigned i = 0; i < std::min(k_deaths_max, corelets / 4); ++i) {
        Instant const death = mesh.now();
        mesh.kill(i);
        mesh.run(12_s);
        note_first(mesh.suspected, Meshes::id(i), death, suspected);
        note_first(mesh.confirmed, Meshes::id(i), death, confirmed);
        mesh.down_in_map.insert(Meshes::id(i));
        for (unsigned other = 0; other < corelets; ++other) mesh.show_map(other);
    }
    std::printf(
        "{\"corelets\": %u, \"minutes\": %lld, \"loss_percent\": %llu, \"messages_per_second\": %.1f, "
        "\"bytes_per_second\": %.0f, \"confirmed_wrongly\": %zu, \"deaths\": %zu, \"suspected_ms\": [%lld, %lld], "
        "\"confirmed_ms\": [%lld, %lld]}\n",
        corelets, static_cast<long long>(minutes), static_cast<unsigned long long>(mesh.loss_percent), rate,
        byte_rate, wrong, confirmed.ms.size(), static_cast<long long>(suspected.at(50)),
        static_cast<long long>(suspected.at(100)), static_cast<long long>(confirmed.at(50)),
        static_cast<long long>(confirmed.at(100)));
    return wrong == 0 ? 0 : 1;
}
