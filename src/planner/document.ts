import type { Goal } from './search/objective.ts'
import type { Arrangement, Load, Machine, Prediction } from './types.ts'

/** Throughput in bulk, and the latency at a rate. */
export interface Figures {
  videos_per_s: number
  rate_per_s: number
  p50_ms: number
  p99_ms: number
}

/** A plan among others. */
export interface DocumentPlan {
  /** Short, and of one plan only. */
  name: string
  /** What it places where, in a line. */
  summary: string
  predicted: Figures
  /** No other plan that was looked at is better in one of both without being worse in the other. */
  on_front: boolean
  /** Of real runs, by round: what the goal asks for, or null where a run gave no figure. */
  measured?: number[]
}

/** What a bit more would bring, by prediction. */
export interface More {
  what: string
  /** Of what the goal asks for: before, and with it. */
  from: number
  to: number
}

export interface Proof {
  /** Mean of the winner's measured figures, and how it ended. */
  verdict: string
  test: string
  seeds: number[]
  requests: number
  /** A run with a seed that no run before had. */
  held_out?: {
    seed: number
    predicted: number
    measured: number
    /** (predicted - measured) / measured of each figure. */
    errors: Record<string, number>
  }
  /** The file as it was given, under the same seeds: what the plan is worth. */
  given?: { measured: number[]; gain: number }
}

/** What `rnb plan` writes: what it knew, foresaw and measured. Figures of the goal are videos/s, or ms of p99. */
export interface PlanDocument {
  type: 'plan'
  pipeline: string
  goal: Goal & { slo_ms?: number; figure: 'videos_per_s' | 'p99_ms' }
  machine: Machine & { hosts: number; simulated: boolean }
  load: Load
  search: {
    plans: number
    tried: number
    ended: string
    /** The best figure that any plan can have, and how far the winner may be from it, as a share. */
    bound: number
    gap: number
    refused: Record<string, number>
    beyond_bound: number
    seconds: number
  }
  winner: DocumentPlan & { arrangement: Arrangement; prediction: Prediction; command: string }
  plans: DocumentPlan[]
  /** By resource: which share of the limit it is. */
  bottleneck: { per_s: number; shares: Record<string, number> }
  more: More[]
  proof: Proof | null
  /** What limits the meaning of all this. */
  notes: string[]
}
