"""SPEC.md sections 3 and 5 in numpy, written from the text alone: what the kernels must give to the bit."""

import numpy as np
from gate_table import FIRST, LAST, line

F = np.float32
CONST_EXP = np.array([0x3F800000, 0x3F317096, 0x3E7601BC, 0x3D64FE23, 0x3C1D0166], np.uint32).view(F)
TINY = F(2.0**-64)


def lanes(values):
    """The written order of a float sum."""
    sums = [F(0)] * 4
    for i, value in enumerate(values):
        sums[i % 4] = F(sums[i % 4] + value)
    return F(F(sums[0] + sums[1]) + F(sums[2] + sums[3]))


def exp(x):
    """The exp of SPEC.md 3.1, elementwise."""
    x = np.clip(np.asarray(x, F), F(-87), F(87))
    t = x * F(float.fromhex("0x1.715476p+0"))
    n = np.rint(t)
    f, y = t - n, np.full_like(t, CONST_EXP[4])
    for c in CONST_EXP[3::-1]:
        y = y * f + c
    return np.ldexp(y, n.astype(np.int32)).astype(F)


def quantize(x):
    """SPEC.md 3.2: (q, s), or None where the step fails."""
    m = np.max(np.abs(x))
    if not m < F(2.0**60):
        return None
    if m < TINY:
        return np.zeros(len(x), np.int8), F(0)
    inverse = F(127) / m
    return np.clip(np.rint(x * inverse), -127, 127).astype(np.int8), F(m / F(127))


def matvec(q, scale, group, x):
    """SPEC.md 3.3 after 3.2; group None is INT8."""
    xq, xs = quantize(x)
    products = q.astype(np.int64) * xq.astype(np.int64)
    if group is not None:
        weights = np.repeat(group.astype(np.int64), 32, axis=1)[:, : q.shape[1]]
        products = products * weights
    sums = products.sum(axis=1)
    assert np.abs(sums).max(initial=0) < 2**31
    return sums.astype(np.int32).astype(F) * (xs * scale.astype(F))


def rms(x, eps):
    """The r of SPEC.md 3.4."""
    mean = F(lanes(x * x) / F(len(x)))
    return F(F(1) / np.sqrt(F(mean + F(eps))))


def swiglu(gate_up):
    """silu(g) * u."""
    half = len(gate_up) // 2
    return np.array([F(F(g * _gate(g)) * u) for g, u in zip(gate_up[:half], gate_up[half:], strict=True)], F)


def _gate(x):
    n = F(np.rint(F(x * F(16))))
    value, slope = line(int(max(FIRST, min(LAST, n))))
    return F(value + F(F(x - F(n / F(16))) * slope))


def normalize(x, mean, gain):
    """SPEC.md 3.8, the scaled window."""
    return np.array([F(F(v - mean[i % len(mean)]) * gain[i % len(gain)]) for i, v in enumerate(x)], F)


def sigmoid(x):
    """SPEC.md 3.1."""
    return F(F(1) / F(F(1) + exp(-x)))


def route(x, weight, bias, top_k, scaling, softmax=False, normalize=True):
    """SPEC.md 3.5 step 2.7: (experts rising, gates)."""
    sums = [lanes(x * row) for row in weight]
    if softmax:
        e = [exp(F(z - max(sums))) for z in sums]
        score = np.array([F(value / lanes(np.array(e, F))) for value in e], F)
    else:
        score = np.array([sigmoid(z) for z in sums], F)
    biased = score + bias
    chosen = sorted(sorted(range(len(score)), key=lambda e: (-biased[e], e))[:top_k])
    total = F(0)
    for e in chosen:
        total = F(total + score[e])
    shares = [F(score[e] / total) if normalize else score[e] for e in chosen]
    return chosen, np.array([F(share * F(scaling)) for share in shares], F)


def rotate(x, cosine, sine):
    """SPEC.md 3.5 step 2.2 on one head."""
    half = len(x) // 2
    a, b = x[:half], x[half:]
    return np.concatenate([a * cosine - b * sine, b * cosine + a * sine])


class Attention:
    """SPEC.md 3.5 steps 2.2 to 2.4 with its cache."""

    def __init__(self, heads, kv_heads, head_dim, qk_norm, eps):
        self.heads, self.kv_heads, self.head_dim, self.qk_norm, self.eps = heads, kv_heads, head_dim, qk_norm, eps
        self.keys = [[] for _ in range(kv_heads)]
        self.values = [[] for _ in range(kv_heads)]

    def step(self, qkv, cosine, sine):
        """Outputs (heads * head_dim) of the next position."""
        d, p = self.head_dim, len(self.keys[0])
        rows = qkv.reshape(-1, d)
        for g in range(self.kv_heads):
            self.keys[g].append(quantize(self._turn(rows[self.heads + g], cosine, sine)))
            self.values[g].append(quantize(rows[self.heads + self.kv_heads + g]))
        out = np.zeros((self.heads, d), F)
        w = F(F(1) / np.sqrt(F(d)))
        for h in range(self.heads):
            g = h // (self.heads // self.kv_heads)
            q, s_q = quantize(self._turn(rows[h], cosine, sine))
            factor = F(s_q * w)
            z = np.array([F(int(q.astype(np.int64) @ k.astype(np.int64))) * F(factor * s) for k, s in self.keys[g]], F)
            e = exp(z - z.max())
            total = lanes(e)
            a = e * np.array([s for _, s in self.values[g]], F)
            m = a.max()
            if m < TINY:
                continue
            k = F(min(32767, 2**24 // (p + 1)))
            b = np.rint(a * F(k / m)).astype(np.int64)
            sums = sum(int(b_u) * v.astype(np.int64) for b_u, (v, _) in zip(b, self.values[g], strict=True))
            out[h] = sums.astype(np.int32).astype(F) * F(F(m / k) / total)
        return out.reshape(-1)

    def _turn(self, x, cosine, sine):
        y = rotate(x, cosine, sine)
        return y * rms(y, self.eps) if self.qk_norm else y


def mix(h):
    """The finalizer of MurmurHash3."""
    h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    return h ^ h >> 16


def sample(z, temperature, top_k, seed, position):
    """SPEC.md 3.7."""
    ranked = sorted(range(len(z)), key=lambda i: (-z[i], i))
    kept = sorted(ranked[: top_k or len(z)])
    inverse, scale = F(1) / F(temperature), F(2 ** min(22, 31 - len(z).bit_length()))
    weights = [int(np.rint(e * scale)) for e in exp((z[kept] - z.max()) * inverse)]
    target = mix((mix(seed) + (position + 1) * 0x9E3779B9) % 2**32) * sum(weights) // 2**32
    total = 0
    for i, weight in zip(kept, weights, strict=True):
        total += weight
        if total > target:
            return i
    raise AssertionError
