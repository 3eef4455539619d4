/* SPDX-License-Identifier: Apache-2.0 */
#include "../reference/mmoe_quantize_s8.c" /* not that of dsp/, whose vectors are int16 */
