// Real etcd servers for tests: processes on free ports of the loopback, with their data in a temporary folder. They
// end with the test, also if it is killed.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "rt/network.h"

namespace corelet::testing {

class EtcdServers {
  public:
    // A cluster of so many, started. A test fails here if the program is not there: scripts/setup-debian.sh
    // installs it.
    explicit EtcdServers(usize members);
    ~EtcdServers();
    EtcdServers(const EtcdServers&) = delete;
    EtcdServers& operator=(const EtcdServers&) = delete;

    [[nodiscard]] usize size() const { return members_.size(); }
    [[nodiscard]] std::vector<Address> endpoints() const;
    void start(usize index);  // with the data it had
    void kill(usize index);
    void stop(usize index);  // it stands still, with its connections open
    void go_on(usize index);
    void go_on_all();
    // What the members have logged, for a test that failed.
    [[nodiscard]] const std::string& directory() const { return directory_; }

  private:
    struct Member {
        u16 client_port = 0;
        u16 peer_port = 0;
        int pid = 0;  // 0: not running
        bool stopped = false;
    };
    [[nodiscard]] std::vector<std::string> arguments(usize index) const;
    void signal(usize index, int number);
    std::string directory_;
    std::vector<Member> members_;
};

}  // namespace corelet::testing
