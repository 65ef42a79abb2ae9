/** A request that failed; the message is a sentence for the person. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0 if there was no answer at all. */
    readonly status: number
  ) {
    super(message);
  }
}
