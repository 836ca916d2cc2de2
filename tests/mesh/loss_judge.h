// Whether `status` tells the truth about what may be lost (invariant 11): now and then a corelet is asked, and what
// it claims is held against what lies on the devices: every subset of the size it names is taken away in thought.
#pragma once

#include "tests/mesh/sim_mesh.h"

namespace corelet {

class LossJudge {
  public:
    LossJudge(SimMesh& mesh, std::vector<std::string> volumes);
    // `open`: nobody is cut off or ill in a way that cannot have been noticed yet; who died, and when, is seen
    // here. Judges the answer to the last question, if nothing happened since, and asks anew.
    void look(bool open);

  private:
    struct Question {
        std::shared_ptr<std::optional<Result<std::string>>> answer;
        sim::VirtualTime until;
        bool disturbed = false;
    };
    // A chunk, a segment, the votes: so much has to be left of it, and it lies there.
    struct Item {
        std::string what;
        usize needed = 1;
        std::vector<std::pair<usize, u64>> holders;  // corelet, and what it has of it, as bits
    };
    struct Seen {
        CoreletId id;
        bool up = false;
    };
    [[nodiscard]] bool is_settled(bool open);
    void judge(const std::string& answer);
    [[nodiscard]] std::optional<usize> leader() const;
    [[nodiscard]] std::vector<Item> everything(usize leader) const;
    [[nodiscard]] Item votes(usize leader) const;
    [[nodiscard]] Item chunk(ChunkId id, usize needed) const;
    void add_chunks(usize leader, std::vector<Item>& out) const;
    void add_segments(usize leader, std::vector<Item>& out) const;
    [[nodiscard]] static std::optional<std::string> lost_without(const std::vector<Item>& items,
                                                                 const std::set<usize>& gone);
    // Some `count` of the groups whose going loses something, and what.
    [[nodiscard]] static std::optional<std::string> any_loss(const std::vector<Item>& items,
                                                             const std::vector<std::set<usize>>& groups,
                                                             usize count);

    SimMesh& mesh_;
    std::vector<std::string> volumes_;
    Prng random_;
    std::vector<Seen> seen_;
    sim::VirtualTime settled_from_{};
    sim::VirtualTime next_{};
    std::optional<Question> question_;
};

}  // namespace corelet
