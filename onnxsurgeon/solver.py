"""Which counts to keep: local search for a selection, relaxations for a bound on all others."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from onnxsurgeon.errors import InfeasibleError, SurgeonError
from onnxsurgeon.problem import FloatArray, IntArray, Problem
from onnxsurgeon.program import Program, write_out
from onnxsurgeon.relax import Logs, Relaxed, Resolution, curves, relax, tangents
from onnxsurgeon.search import Search

DEBUG=False

def highs(options):
    import highspy
    h = highspy.Highs()
    for k, v in {"output_flag": False, "random_seed": 1, "parallel": "off", "threads":1, **options}.items():
        assert h.setOptionValue(k, v) == highspy.HighsStatus.kOk, k
    return h

def load(h, r: Relaxed, integer: bool):
    import highspy
    lower, upper, start, col, val = r.rows.arrays()
    n=r.columns; m=len(lower)
    integ=np.zeros(n,np.int32)
    if integer: integ[r.gate:]=1
    st=h.passModel(n,m,len(val),int(highspy.MatrixFormat.kRowwise),int(highspy.ObjSense.kMaximize),r.offset,r.cost,r.lower,r.upper,lower,upper,start[:-1].astype(np.int32),col.astype(np.int32),val,integ)
    assert st==highspy.HighsStatus.kOk, st

def linear(logs, r, rounds=30, tol=1e-4):
    """LP with lazily added tangents."""
    t=time.time()
    h=highs({"presolve":"off","solver":"simplex"}); load(h,r,False)
    S,M=r.S,r.M
    ms,ats=[],[]
    share=(logs.program.coefficient*np.exp(logs.top)/logs.room()[:,None]).max(axis=0)
    for i in range(rounds):
        h.run(); sol=np.array(h.getSolution().col_value); x=sol[:S]; q=sol[S:S+M]
        at=np.append(x,0)[logs.program.factor].sum(1)
        viol=(np.exp(at-logs.top)-q)*share
        bad=np.flatnonzero(viol>tol/len(share))
        if DEBUG: print('  lp',i,h.getInfo().objective_function_value,viol.sum(),len(bad),h.getInfo().simplex_iteration_count,time.time()-t)
        if viol.sum()<tol or not len(bad): break
        rows=tangents(logs,r.S,bad,at[bad]); lo,up,st,c,v=rows.arrays()
        h.addRows(len(lo),lo,up,len(v),st[:-1].astype(np.int32),c.astype(np.int32),v)
        ms.append(bad); ats.append(at[bad])
    d=np.array(h.getSolution().col_dual)
    return x, h.getInfo().objective_function_value, d, np.concatenate([*ms,np.zeros(0,int)]), np.concatenate([*ats,np.zeros(0)])

def mip(logs, r, gap, limit, target):
    import highspy
    t=time.time()
    h=highs({"mip_rel_gap":gap,"time_limit":limit}); load(h,r,True)
    def stop(e):
        if e.data_out.mip_dual_bound<=target: e.data_in.user_interrupt=1
    h.cbMipInterrupt.subscribe(stop)
    h.run(); info=h.getInfo(); sol=h.getSolution()
    if DEBUG: print('  mip',h.getModelStatus(),info.objective_function_value,info.mip_dual_bound,info.mip_node_count,time.time()-t,'cols',r.columns,'gates',r.ngate,'rows',r.rows.count)
    x=np.array(sol.col_value)[:r.S] if sol.value_valid else None
    return x, info.mip_dual_bound
