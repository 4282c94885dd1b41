/** The helper functions of npm dynamo-lock. This package does not use them. */
declare const util: {
  /** Returns a random UUID. */
  getRandomToken(): string;
  /** Returns whether the object has no enumerable properties of its own. */
  isEmptyObject(object: object): boolean;
  /** Returns the time in `ms` milliseconds, in milliseconds since 1970. */
  getNMillisInFuture(ms: number): number;
};
export = util;
