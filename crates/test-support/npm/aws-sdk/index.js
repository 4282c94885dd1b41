// Stands in for the SDK that the original requires at load: with a `db` given it is never used.
exports.DynamoDB = function () { throw new Error('the test brings the db'); };
