// Everything.
#pragma once

#include "mc/array.h"
#include "mc/device.h"
#include "mc/dtype.h"
#include "mc/dynamic.h"
#include "mc/error.h"
#include "mc/fast.h"
#include "mc/ops.h"
#include "mc/plan.h"
#include "mc/quantize.h"
#include "mc/random.h"
#include "mc/shape.h"
#include "mc/transforms.h"
