// The one program: daemon and command line.
#include <malloc.h>  // host: how this process gives memory back

#include "app/tool/cli.h"

int main(int argc, char** argv) {
    // Payloads of a megabyte come and go all the time: from fresh pages of the kernel each would cost its faults
    // again.
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    mallopt(M_TOP_PAD, 16 << 20);
    return corelet::app::run_cli(argc, argv);
}
