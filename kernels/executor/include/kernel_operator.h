// The part of Ascend C that this project's kernels use, under CANN's names, so that they compile on
// any CPU unchanged. A call that is not here does not compile; what the calls mean is in ../core.
#pragma once

#include "ascendc/dma.h"
#include "ascendc/queue.h"
#include "ascendc/sync.h"
#include "ascendc/types.h"
#include "ascendc/vector.h"
#include "ascendc/vector_move.h"
