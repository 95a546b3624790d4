// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp - moec.h for C++17 and later: handles that clean up, Result in place of status codes, checked lengths and
// types. Header only; works without exceptions and RTTI.
//
// Ownership  Package, Pool, Layer and Weights are handles with shared ownership: a copy is the same object, the last
//            copy destroys it. Moving copies, so a handle is never empty. Weights keep their layer, a layer its pool
//            and package, so order does not matter. What a Span, map or pack_into names is the caller's and must
//            outlive what uses it.
// Threads    as moec.h says: any number of threads may use one Layer and its Weights, with one workspace per call.
// Errors     functions that can fail return Result<T>: a T, or an Error with status and text. value() of an error ends
//            the program with the text; or_throw(result) throws moec::Exception where exceptions are on.
// Callbacks  may not throw: an exception that leaves one ends the program.
#ifndef MOEC_HPP
#define MOEC_HPP

#include "moec/backward.hpp"
#include "moec/balance.hpp"
#include "moec/forward.hpp"
#include "moec/layer.hpp"
#include "moec/memory.hpp"
#include "moec/package.hpp"
#include "moec/pool.hpp"
#include "moec/result.hpp"
#include "moec/weights.hpp"

#endif
