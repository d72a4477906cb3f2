// Runs the arithmetic checks and prints "name | " and what is wrong, nothing when it is right.
#include <cstdio>

#include "bench.h"

int main() {
  for (const arithmetic::Check& check : arithmetic::AllChecks()) {
    std::printf("%s | %s\n", check.name, check.run().c_str());
  }
  return 0;
}
