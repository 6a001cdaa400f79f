-- v4: Nothing yet

SELECT 1;
