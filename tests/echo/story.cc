#include "story.h"

namespace corelet::echo {

namespace {

constexpr Duration k_bound{60'000'000'000};

class Story {
  public:
    Story(Habitat& habitat, StoryOptions options, Ledger& ledger)
        : habitat_(habitat), options_(options), ledger_(ledger), random_(options.seed) {}

    Result<void> tell() {
        for (usize i = 0; i < k_corelets; ++i) boot(i);
        TRY_VOID(all_progress("after the boot", {}));
        TRY_VOID(partition());
        for (usize i = 0; i < options_.crashes; ++i) TRY_VOID(disk_crash(random_.below(k_corelets)));
        return verdict();
    }

  private:
    void boot(usize corelet) {
        Config config;
        config.self = corelet;
        config.listen = habitat_.listen_address(corelet);
        config.device = habitat_.device(corelet);
        config.forgetful = options_.forgetful;
        for (usize peer = 0; peer < k_corelets; ++peer) {
            if (peer != corelet) config.peers[peer] = habitat_.address(corelet, peer);
        }
        Ledger* const ledger = &ledger_;
        habitat_.boot(corelet, [config, ledger](Env& env) { return run(env, config, ledger); });
    }
    [[nodiscard]] Result<void> verdict() const {
        if (ledger_.violation.empty()) return {};
        return fail(Code::kCorrupt, ledger_.violation);
    }
    // Each pair without `but` gets `more` answers.
    Result<void> all_progress(const char* when, std::optional<usize> but, u64 more = 20) {
        auto const before = ledger_.pairs;
        auto const enough = [&] {
            for (usize client = 0; client < k_corelets; ++client) {
                for (usize server = 0; server < k_corelets; ++server) {
                    if (client == server || client == but || server == but) continue;
                    auto const found = before.find({client, server});
                    u64 const base = found == before.end() ? 0 : found->second.answers;
                    if (ledger_.pairs[{client, server}].answers < base + more) return false;
                }
            }
            return true;
        };
        bool const progressed = habitat_.run_until([&] { return !ledger_.violation.empty() || enough(); }, k_bound);
        TRY_VOID(verdict());
        if (!progressed) return fail(Code::kTimeout, std::string("no progress ") + when);
        return {};
    }
    [[nodiscard]] u64 answers_with(usize corelet) const {
        u64 sum = 0;
        for (auto const& [pair, counts] : ledger_.pairs) {
            if (pair.first == corelet || pair.second == corelet) sum += counts.answers;
        }
        return sum;
    }
    Result<void> partition() {
        usize const lonely = random_.below(k_corelets);
        for (usize other = 0; other < k_corelets; ++other) {
            if (other != lonely) habitat_.cut(lonely, other);
        }
        // What was under way may still arrive.
        TRY_VOID(all_progress("of the larger side of a partition", lonely, 10));
        u64 const before = answers_with(lonely);
        TRY_VOID(all_progress("of the larger side of a partition", lonely, 50));
        u64 const crossed = answers_with(lonely) - before;
        if (crossed > 4) return fail(Code::kCorrupt, std::to_string(crossed) + " answers crossed a partition");
        habitat_.mend_all();
        return all_progress("after the partition", {});
    }
    Result<void> disk_crash(usize corelet) {
        // In the middle of things: some more answers, and then at once.
        u64 const wanted = answers_with(corelet) + 1 + random_.below(30);
        habitat_.run_until([&] { return answers_with(corelet) >= wanted; }, k_bound);
        habitat_.crash(corelet);
        TRY_VOID(all_progress("of those that are left after a crash", corelet));
        boot(corelet);
        return all_progress("after a crash", {});
    }

    Habitat& habitat_;
    StoryOptions options_;
    Ledger& ledger_;
    Prng random_;
};

}  // namespace

Result<void> run_story(Habitat& habitat, StoryOptions options, Ledger& ledger) {
    return Story(habitat, options, ledger).tell();
}

}  // namespace corelet::echo
