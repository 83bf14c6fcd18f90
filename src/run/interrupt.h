// SIGINT and SIGTERM ask the training loop to stop after its step; a second one ends the program at
// once.
#pragma once

namespace peri {

void catch_interrupts();

// A file that grows beyond what is allowed (ulimit -f) is an error of the write, not the end of the program.
void survive_file_limits();

// Where memory ends inside of a function from which no exception may come (a library's destructor), the program
// says so and ends with this exit code, as where it can be caught.
void end_with_memory(int code);

// The signal that has come, 0 for none.
int interrupt();

}  // namespace peri
