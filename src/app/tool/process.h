// Corelet processes of this machine: starting them apart from this one, finding them, signalling them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace corelet::app {

struct RunningCorelet {
    int pid = 0;
    bool stopped = false;  // by SIGSTOP
};

// All `corelet serve` processes of one corelet each by the directory on their command line; those that have died
// and were not yet reaped are not there.
[[nodiscard]] std::map<std::string, RunningCorelet> find_corelets();
[[nodiscard]] std::optional<RunningCorelet> find_corelet(const std::string& directory);

// Starts `corelet serve --dir DIRECTORY` of this program in a session of its own; its output goes to the log in the
// directory. With `network_namespace` (a name, as `ip netns` has it) its network is that one. `options`: further
// ones of serve. Returns the pid.
[[nodiscard]] Result<int> start_corelet(const std::string& directory, const std::string& network_namespace,
                                        const std::vector<std::string>& options = {});

// The process of `corelet serve --bays ... --dir DIRECTORY`.
[[nodiscard]] std::optional<RunningCorelet> find_keeper(const std::string& directory);
// Starts one; its output goes to the log in the directory. Returns the pid.
[[nodiscard]] Result<int> start_keeper(const std::string& directory, const std::string& bays);

// True once it has ended, also of one that is no child of this process; a child is reaped then.
[[nodiscard]] bool process_ended(int pid);

// kNotFound if it is gone.
[[nodiscard]] Result<void> send_signal(int pid, int signal);

// Runs a program of the system with a text on its standard input; kIo with what it said if it fails, kNotFound if
// there is none.
[[nodiscard]] Result<void> run_program(const std::vector<std::string>& arguments, const std::string& input);

}  // namespace corelet::app
