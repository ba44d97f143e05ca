"""relaxation, experimental"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxsurgeon.problem import FloatArray, IntArray
from onnxsurgeon.program import Program

_NOTHING = 1e-3  # stands for a count of 0, which has no logarithm


@dataclass(frozen=True)
class Resolution:
    """How fine a relaxation is."""

    step: float  # of log counts, at the centres
    growth: float  # of the step, for each unit of distance from the nearest centre
    slack: float  # what the utility bound of a space may exceed its table by, in a concave piece


@dataclass(frozen=True)
class Curve:
    x: FloatArray
    n: FloatArray
    utility: FloatArray
    piece: IntArray  # (vertices,)

class Logs:
    """A program in log counts."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.x = np.log(np.maximum(program.count, _NOTHING))
        self.low, self.high = self.x[program.start[:-1]], self.x[program.start[1:] - 1]
        self.top = self._sum(self.high)
        self.bottom = self._sum(self.low)

    def _sum(self, x: FloatArray) -> FloatArray:
        total: FloatArray = np.append(x, 0.0)[self.program.factor].sum(axis=1)
        return total

    def room(self) -> FloatArray:
        """The upper bounds, less constants, plus what counting 0 as `_NOTHING` can add; shape (costs,)."""
        program = self.program
        largest = program.count[program.start[1:] - 1].astype(np.float64)
        empty = program.count[program.start[:-1]] == 0
        padded = np.append(np.where(empty, np.maximum(largest, _NOTHING), largest), 1.0)
        ghost = np.zeros(len(program.factor))
        zero = np.append(empty, False)[program.factor]
        for position in range(program.factor.shape[1]):
            others = np.delete(padded[program.factor], position, axis=1).prod(axis=1)
            ghost += np.where(zero[:, position], _NOTHING * others, 0)
        return program.upper - program.constant + program.coefficient @ ghost


def curves(logs: Logs, centres: FloatArray, resolution: Resolution) -> list[Curve]:
    """One curve a space; `centres`, shape (points, spaces), are log counts."""
    program, x = logs.program, logs.x
    owner = program.owner
    keep = np.zeros(len(x), dtype=bool)
    keep[program.start[:-1]] = keep[program.start[1:] - 1] = True
    for centre in centres:
        away = x - centre[owner]
        linear = np.minimum(np.abs(away), resolution.step / resolution.growth)
        rest = np.log(np.maximum(np.abs(away) * resolution.growth / resolution.step, 1.0)) / resolution.growth
        steps = np.floor(np.sign(away) * (linear / resolution.step + rest))
        keep[1:] |= (steps[1:] != steps[:-1])
    point = np.flatnonzero(keep)
    n=program.count.astype(float)
    lift = _excess(n, program.value, point)
    utility = program.value[point] + np.maximum(lift, np.append(0, lift[:-1]))
    cut = np.searchsorted(point, program.start)
    distance = np.abs(x[point] - centres[:, owner[point]]).min(axis=0)
    slack = resolution.slack * (1 + (distance * 8) ** 2)
    return [
        _pieces(x[point[a:b]], n[point[a:b]],utility[a:b], slack[a:b])
        for a, b in zip(cut[:-1].tolist(), cut[1:].tolist(), strict=True)
    ]


def _excess(x: FloatArray, value: FloatArray, point: IntArray) -> FloatArray:
    cell = np.repeat(np.arange(len(point)), np.diff(np.append(point, len(x))))
    after = np.minimum(cell + 1, len(point) - 1)
    left, right = point[cell], point[after]
    width = x[right] - x[left]
    share = np.divide(x - x[left], width, out=np.zeros(len(x)), where=width > 0)
    chord = value[left] + share * (value[right] - value[left])
    above: FloatArray = np.maximum.reduceat(np.where(width > 0, value - chord, 0.0), point)
    return np.maximum(above, 0.0)


def _hull(x: FloatArray, y: FloatArray) -> list[int]:
    xs, ys = x.tolist(), y.tolist()
    kept: list[int] = []
    for i in range(len(xs)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (ys[b] - ys[a]) * (xs[i] - xs[a]) > (ys[i] - ys[a]) * (xs[b] - xs[a]):
                break
            kept.pop()
        kept.append(i)
    return kept


def _pieces(x: FloatArray, n,y: FloatArray, slack: FloatArray) -> Curve:
    if len(x) == 1:
        return Curve(x, n,y, np.zeros(1, dtype=int))
    vertices=[];piece=[]
    pending = [(0, len(x) - 1)]
    p=0
    while pending:
        a, b = pending.pop()
        hull = _hull(x[a : b + 1], y[a : b + 1])
        gap = np.interp(x[a : b + 1], x[a : b + 1][hull], y[a : b + 1][hull]) - y[a : b + 1] - slack[a : b + 1]
        if b - a > 1 and gap.max() > 0:
            middle = a + int(np.argmax(gap))
            pending += [(middle, b), (a, middle)]
            continue
        vertices += range(a,b+1); piece += [p]*(b+1-a); p+=1
    return Curve(x[vertices], n[vertices],y[vertices], np.array(piece))


class Rows:
    """Sparse rows under construction."""

    def __init__(self) -> None:
        self._entries: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._bounds: list[tuple[FloatArray, FloatArray]] = []
        self.count = 0

    def add(self, row: IntArray, column: IntArray, value: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        self._entries.append((row + self.count, column, value))
        self._bounds.append((lower, upper))
        self.count += len(lower)

    def arrays(self) -> tuple[FloatArray, FloatArray, IntArray, IntArray, FloatArray]:
        row, column, value = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        lower, upper = (np.concatenate(part) for part in zip(*self._bounds, strict=True))
        order = np.lexsort((column, row))
        row, column, value = row[order], column[order], value[order]
        fresh = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(column, prepend=-1) != 0))
        value = np.add.reduceat(value, fresh) if len(fresh) else value
        start = np.searchsorted(row[fresh], np.arange(self.count + 1))
        return lower, upper, start, column[fresh], value


def tangents(logs: Logs, spaces:int, monomial: IntArray, at: FloatArray,rows=None) -> Rows:
    factor = logs.program.factor[monomial]
    rows = rows or Rows()
    slope = np.exp(at - logs.top[monomial])
    row, position = np.nonzero(factor < logs.program.spaces)
    every = np.arange(len(monomial))
    rows.add(
        np.concatenate([every, row]),
        np.concatenate([spaces + monomial, factor[row, position]]),
        np.concatenate([np.ones(len(monomial)), -slope[row]]),
        slope * (1 - at),
        np.full(len(monomial), np.inf),
    )
    return rows


@dataclass(frozen=True)
class Relaxed:
    S: int
    M: int
    gate: int  # first gate col
    ngate: int
    columns: int
    offset: float
    cost: FloatArray
    lower: FloatArray
    upper: FloatArray
    rows: Rows


def relax(logs: Logs, shape: list[Curve], monomial: IntArray, at: FloatArray, sides="few", lo=None, hi=None) -> Relaxed:
    program = logs.program
    S, M = program.spaces, len(program.factor)
    V=np.array([len(c.x) for c in shape]); vs=np.concatenate([[0],np.cumsum(V)])
    vx=np.concatenate([c.x for c in shape]); vn=np.concatenate([c.n for c in shape]); vu=np.concatenate([c.utility for c in shape])
    owner=np.repeat(np.arange(S),V)
    P=np.array([c.piece[-1]+1 for c in shape]); ps=np.concatenate([[0],np.cumsum(P)])
    vp=np.concatenate([c.piece for c in shape])+ps[owner]
    lam=S+M+np.arange(len(vx))
    rows=Rows(); ev=np.arange(S)
    # x definition
    rows.add(np.concatenate([ev,owner]),np.concatenate([ev,lam]),np.concatenate([np.ones(S),-vx]),np.zeros(S),np.zeros(S))
    # groups
    gs=[]
    deg2=np.flatnonzero((program.factor<S).sum(1)==2)
    deg2=deg2[program.factor[deg2][:,0]!=program.factor[deg2][:,1]] if len(deg2) else deg2
    fs=program.factor[deg2][:,:2] if len(deg2) else np.zeros((0,2),int)
    deg=np.bincount(fs.reshape(-1),minlength=S)
    orient=[]
    if sides!="none":
        a,b=fs[:,0],fs[:,1]
        if sides in("few","both"):
            fa=deg[a]<=deg[b]
            orient.append((deg2,np.where(fa,a,b),np.where(fa,b,a)))
            if sides=="both": orient.append((deg2,np.where(fa,b,a),np.where(fa,a,b)))
    groups={}
    for k,(ms,s,t) in enumerate(orient):
        for m,si,ti in zip(ms.tolist(),s.tolist(),t.tolist()):
            groups.setdefault((k,si,tuple(program.coefficient[:,m].tolist())),[]).append((m,ti))
    col=S+M+len(vx); wrows=[]
    bhi=program.count[program.start[1:]-1].astype(float)
    nlo=program.count[program.start[:-1]].astype(float) if lo is None else lo
    nhi=bhi if hi is None else hi
    blo=program.count[program.start[:-1]]
    for (k,si,_),mem in groups.items():
        ms=np.array([m for m,_ in mem]); ts=np.array([t for _,t in mem])
        Llo,Lhi=nlo[ts].sum(),nhi[ts].sum()
        if bhi[ts].sum()<=blo[ts].sum() or bhi[si]<=blo[si]: continue
        v=np.arange(vs[si],vs[si+1]); K=len(v); om=col+np.arange(K); col+=K
        # omega<=lambda
        e=np.arange(K)
        rows.add(np.concatenate([e,e]),np.concatenate([om,lam[v]]),np.concatenate([np.ones(K),-np.ones(K)]),np.full(K,-np.inf),np.zeros(K))
        # sum omega = (L-Llo)/(Lhi-Llo)
        vt=np.concatenate([np.arange(vs[t],vs[t+1]) for t in ts])
        D=Lhi-Llo; B=bhi[ts].sum()
        rows.add(np.zeros(K+len(vt),int),np.concatenate([om,lam[vt]]),np.concatenate([np.full(K,D/B),-vn[vt]/B]),np.array([-Llo/B]),np.array([-Llo/B]))
        # sum q >= sum n (Llo lam + D om)
        sc=bhi[si]*B
        rows.add(np.zeros(2*K+len(ms),int),np.concatenate([S+ms,lam[v],om]),np.concatenate([np.exp(logs.top[ms])/sc,-vn[v]*Llo/sc,-vn[v]*D/sc]),np.zeros(1),np.full(1,np.inf))
    gate0=col
    # pieces
    pown=np.repeat(np.arange(S),P); inner=np.arange(ps[-1])-ps[pown]
    gidx=np.cumsum(inner>0)-1+gate0  # gate opening piece p (p>0)
    NG=int((inner>0).sum())
    has=inner>0; nxt=np.append(inner[1:]>0,False)
    pr=np.arange(ps[-1])
    rows.add(np.concatenate([vp,pr[has],pr[nxt]]),np.concatenate([lam,gidx[has],gidx[np.flatnonzero(nxt)+1]]),np.concatenate([np.ones(len(vx)),-np.ones(has.sum()),np.ones(nxt.sum())]),np.where(has,0.,1.),np.where(has,0.,1.))
    room = logs.room()
    share = program.coefficient * np.exp(logs.top) / room[:, None]
    metric, term = np.nonzero(share > 0)
    rows.add(metric, S + term, share[metric, term], np.full(len(room), -np.inf), np.ones(len(room)))
    tangents(logs, S, monomial, at, rows)
    C=gate0+NG
    cost, lower, upper = np.zeros(C),np.zeros(C),np.ones(C)
    cost[lam]=vu
    upper[lam]=(vn>=nlo[owner])&(vn<=nhi[owner])
    lower[:S], upper[:S] = np.log(np.maximum(nlo,_NOTHING)),np.log(np.maximum(nhi,_NOTHING))
    lower[S:S+M] = np.exp(logs.bottom - logs.top)
    return Relaxed(S,M,gate0,NG,C,0.,cost,lower,upper,rows)
