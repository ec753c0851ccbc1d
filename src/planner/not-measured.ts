import { UsageError } from '../errors.ts'

/** A step of an arrangement, or what decodes for it, of which nothing is known: the arrangement cannot be predicted. */
export class NotMeasured extends UsageError {}
